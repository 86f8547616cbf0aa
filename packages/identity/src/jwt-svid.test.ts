// SPDX-License-Identifier: Apache-2.0
import { createHmac, generateKeyPairSync, type KeyObject, sign as signBytes } from "node:crypto";
import { CompactSign, FlattenedSign, jwtVerify } from "jose";
import { describe, expect, it } from "vitest";
import { type JwtSvidRefusal, verifyJwtSvid, writeJwtSvid } from "./jwt-svid.ts";
import type { TrustBundle } from "./trust-bundle.ts";

const NOW = Date.UTC(2026, 5, 1);
const SECONDS = NOW / 1000;
const ID = "spiffe://example.org/a";
const AUDIENCE = "https://api.example";

const pair = (namedCurve: string) => generateKeyPairSync("ec", { namedCurve });
const [p256, p384, p521] = [pair("P-256"), pair("P-384"), pair("P-521")];
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ed = generateKeyPairSync("ed25519");
const stranger = pair("P-256");

const bundle: TrustBundle = {
  trustDomain: "example.org",
  x509Authorities: [],
  jwtAuthorities: [
    { id: "p256", key: p256.publicKey },
    { id: "p384", key: p384.publicKey },
    { id: "p521", key: p521.publicKey },
    { id: "rsa", key: rsa.publicKey },
    { id: "ed", key: ed.publicKey },
  ],
};
const own = (trustDomain: string) => (trustDomain === "example.org" ? bundle : undefined);
const verify = (token: string, audience = AUDIENCE, now = NOW) => verifyJwtSvid(token, audience, own, now);

type Fields = Readonly<Record<string, unknown>>;
const GOOD_HEADER: Fields = { alg: "ES256", kid: "p256", typ: "JWT" };
const GOOD_CLAIMS: Fields = { sub: ID, aud: [AUDIENCE], exp: SECONDS + 300, iat: SECONDS };
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** Signed by hand, so that what a careful library would not sign can be tried; `undefined` leaves a field out. */
function makeToken(header: Fields = {}, claims: Fields = {}, key: KeyObject = p256.privateKey): string {
  const signed = `${encode({ ...GOOD_HEADER, ...header })}.${encode({ ...GOOD_CLAIMS, ...claims })}`;
  const signature = signBytes("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

const REFUSED: readonly (readonly [string, JwtSvidRefusal, Fields, Fields])[] = [
  ["J2: no algorithm", "token_algorithm_refused", { alg: undefined }, {}],
  ["J2: the algorithm `none`", "token_algorithm_refused", { alg: "none" }, {}],
  ["J2: a MAC", "token_algorithm_refused", { alg: "HS256" }, {}],
  [
    "J2: EdDSA, although the bundle has such a key",
    "token_algorithm_refused",
    { alg: "EdDSA", kid: "ed" },
    {},
  ],
  ["J2: an algorithm in lower case", "token_algorithm_refused", { alg: "es256" }, {}],
  ["J2: ES384 with a key of P-256", "authority_unknown", { alg: "ES384" }, {}],
  ["J2: RS256 with a key of P-256", "authority_unknown", { alg: "RS256" }, {}],
  ["J3: x5u", "token_header_refused", { x5u: "https://evil.example" }, {}],
  ["J3: x5t, which others may send", "token_header_refused", { x5t: "AAAA" }, {}],
  ["J3: x5c", "token_header_refused", { x5c: [] }, {}],
  ["J3: jku", "token_header_refused", { jku: "https://evil.example" }, {}],
  ["J3: jwk", "token_header_refused", { jwk: stranger.publicKey.export({ format: "jwk" }) }, {}],
  ["J3: crit", "token_header_refused", { crit: ["exp"] }, {}],
  ["J3: cty", "token_header_refused", { cty: "JWT" }, {}],
  ["J4: another type", "token_type_refused", { typ: "wit+jwt" }, {}],
  ["J4: a type in lower case", "token_type_refused", { typ: "jwt" }, {}],
  ["a key that its holder would have to prove", "token_bound_to_key", {}, { cnf: { jkt: "AAAA" } }],
  ["J5: no subject", "spiffe_id_malformed", {}, { sub: undefined }],
  ["J5: a subject that is no SPIFFE ID", "spiffe_id_malformed", {}, { sub: "agent" }],
  ["J5: a list as subject", "spiffe_id_malformed", {}, { sub: [ID] }],
  ["J5: the trust domain as subject", "spiffe_id_without_path", {}, { sub: "spiffe://example.org" }],
  ["J5: no audience", "audience_wrong", {}, { aud: undefined }],
  ["J5: an empty list of audiences", "audience_wrong", {}, { aud: [] }],
  ["J5: another audience", "audience_wrong", {}, { aud: ["https://other.example"] }],
  ["J5: an audience that begins like ours", "audience_wrong", {}, { aud: [`${AUDIENCE}/x`] }],
  ["J5: something else among the audiences", "audience_wrong", {}, { aud: [AUDIENCE, 1] }],
  ["J5: no end", "time_missing", {}, { exp: undefined }],
  ["J5: an end as text", "time_missing", {}, { exp: String(SECONDS + 300) }],
  ["J5: an end that is reached", "expired", {}, { exp: SECONDS }],
  ["J5: a beginning that is ahead", "not_yet_valid", {}, { nbf: SECONDS + 1 }],
  ["J5: a beginning as text", "time_missing", {}, { nbf: "0" }],
  ["J6: a trust domain without a bundle", "trust_domain_unknown", {}, { sub: "spiffe://other.org/a" }],
  ["J6: a key that is not in the bundle", "authority_unknown", { kid: "stranger" }, {}],
  ["J7: an empty `kid`", "token_header_refused", { kid: "" }, {}],
];

describe("a JWT-SVID", () => {
  it.each(REFUSED)("is refused with %s", (_, reason, header, claims) => {
    expect(verify(makeToken(header, claims))).toEqual({ ok: false, reason });
  });

  it("is accepted where all of that is right, which the table above depends on", () => {
    expect(verify(makeToken())).toMatchObject({
      ok: true,
      value: { id: { uri: ID }, expiresAt: (SECONDS + 300) * 1000, claims: GOOD_CLAIMS },
    });
  });

  it("J1: is refused in any form but the compact one", async () => {
    const flattened = await new FlattenedSign(Buffer.from(JSON.stringify(GOOD_CLAIMS)))
      .setProtectedHeader({ alg: "ES256", kid: "p256" })
      .sign(p256.privateKey);
    const good = makeToken();
    const [header, claims, signature] = good.split(".");
    for (const wrong of [
      JSON.stringify(flattened),
      JSON.stringify({ payload: flattened.payload, signatures: [flattened] }),
      "",
      "..",
      `${header}.${claims}`,
      `${header}.${claims}.`,
      `${good}.`,
      `${good}=`,
      ` ${good}`,
      `${header}..${signature}`,
    ])
      expect(verify(wrong), wrong).toEqual({ ok: false, reason: "token_malformed" });
  });

  it("J1: is refused where a member stands twice", () => {
    const twice = Buffer.from(
      `{"sub":"${ID}","sub":"spiffe://example.org/b","aud":"${AUDIENCE}","exp":${SECONDS + 9}}`,
    );
    const signed = `${encode(GOOD_HEADER)}.${twice.toString("base64url")}`;
    const signature = signBytes("sha256", Buffer.from(signed), {
      key: p256.privateKey,
      dsaEncoding: "ieee-p1363",
    });
    expect(verify(`${signed}.${signature.toString("base64url")}`)).toEqual({
      ok: false,
      reason: "token_malformed",
    });
  });

  it("J2: is not verified with a public key as a shared secret", () => {
    const signed = `${encode({ ...GOOD_HEADER, alg: "HS256", kid: "rsa" })}.${encode(GOOD_CLAIMS)}`;
    const secret = rsa.publicKey.export({ type: "spki", format: "pem" });
    const forged = createHmac("sha256", secret).update(signed).digest("base64url");
    expect(verify(`${signed}.${forged}`)).toEqual({ ok: false, reason: "token_algorithm_refused" });
  });

  it.each([
    ["RS256", "rsa", rsa.privateKey],
    ["RS384", "rsa", rsa.privateKey],
    ["RS512", "rsa", rsa.privateKey],
    ["PS256", "rsa", rsa.privateKey],
    ["PS384", "rsa", rsa.privateKey],
    ["PS512", "rsa", rsa.privateKey],
    ["ES256", "p256", p256.privateKey],
    ["ES384", "p384", p384.privateKey],
    ["ES512", "p521", p521.privateKey],
  ] as const)("J2: is accepted with %s, signed by another implementation", async (alg, kid, key) => {
    const signed = await new CompactSign(Buffer.from(JSON.stringify(GOOD_CLAIMS)))
      .setProtectedHeader({ alg, kid })
      .sign(key);
    expect(verify(signed)).toMatchObject({ ok: true });
  });

  it.each(["JWT", "JOSE", undefined])("J4: is accepted with the type %s", (typ) => {
    expect(verify(makeToken({ typ }))).toMatchObject({ ok: true });
  });

  it("J5: is accepted with one audience as text, and with others beside ours", () => {
    expect(verify(makeToken({}, { aud: AUDIENCE }))).toMatchObject({ ok: true });
    expect(verify(makeToken({}, { aud: ["other", AUDIENCE] }))).toMatchObject({ ok: true });
  });

  it("J5: is refused for an empty audience of the validator, whatever it says", () => {
    expect(verify(makeToken({}, { aud: [""] }), "")).toEqual({ ok: false, reason: "audience_wrong" });
  });

  it("J6: is refused with the signature of a stranger under a known `kid`", () => {
    expect(verify(makeToken({}, {}, stranger.privateKey))).toEqual({ ok: false, reason: "signature_wrong" });
  });

  it("J7: is accepted without a `kid` where a key of the bundle has signed, and refused where none has", () => {
    expect(verify(makeToken({ kid: undefined }))).toMatchObject({ ok: true });
    expect(verify(makeToken({ kid: undefined }, {}, stranger.privateKey))).toEqual({
      ok: false,
      reason: "signature_wrong",
    });
  });
});

describe("the JWT-SVIDs that are written here", () => {
  const spec = {
    spiffeId: ID,
    audience: [AUDIENCE],
    issuedAt: NOW + 999,
    expiresAt: NOW + 300_999,
    authorityId: "p256",
  };
  const written = writeJwtSvid(spec, (bytes) =>
    signBytes("sha256", bytes, { key: p256.privateKey, dsaEncoding: "ieee-p1363" }),
  );

  it("J1, J3, J7: have `alg`, `kid` and `typ` in the header, and nothing else", () => {
    expect(JSON.parse(Buffer.from(written.split(".")[0]!, "base64url").toString())).toEqual(GOOD_HEADER);
  });

  it("J5: are accepted by another implementation, which is shown what must be there", async () => {
    const { payload } = await jwtVerify(written, p256.publicKey, {
      algorithms: ["ES256"],
      audience: AUDIENCE,
      subject: ID,
      requiredClaims: ["exp", "iat"],
      currentDate: new Date(NOW),
    });
    expect(payload).toEqual(GOOD_CLAIMS);
    await expect(jwtVerify(written, stranger.publicKey, { currentDate: new Date(NOW) })).rejects.toThrow();
  });

  it("are accepted here until their end", () => {
    expect(verify(written)).toMatchObject({ ok: true });
    expect(verify(written, AUDIENCE, NOW + 300_000)).toEqual({ ok: false, reason: "expired" });
  });
});
