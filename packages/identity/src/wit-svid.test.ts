// SPDX-License-Identifier: Apache-2.0
import { createHmac, generateKeyPairSync, type KeyObject, randomBytes, sign as signBytes } from "node:crypto";
import { decodeProtectedHeader, importJWK, type JWK, jwtVerify } from "jose";
import { describe, expect, it } from "vitest";
import { verifyJwtSvid } from "./jwt-svid.ts";
import type { TrustBundle } from "./trust-bundle.ts";
import { type PossessionProof, verifyWitSvid, type WitSvidRefusal, writeWitSvid } from "./wit-svid.ts";

const NOW = Date.UTC(2026, 5, 1);
const SECONDS = NOW / 1000;
const ID = "spiffe://example.org/a";

const pair = (namedCurve: string) => generateKeyPairSync("ec", { namedCurve });
const [authority, jwtAuthority] = [pair("P-256"), pair("P-256")];
const [workload, stranger, p384] = [pair("P-256"), pair("P-256"), pair("P-384")];
const ed = generateKeyPairSync("ed25519");
const weak = generateKeyPairSync("rsa", { modulusLength: 1024 });

const bundle: TrustBundle = {
  trustDomain: "example.org",
  x509Authorities: [],
  jwtAuthorities: [{ id: "jwt", key: jwtAuthority.publicKey }],
  witAuthorities: [{ id: "wit", key: authority.publicKey }],
};
const own = (trustDomain: string) => (trustDomain === "example.org" ? bundle : undefined);

const challenge = randomBytes(32);
const proofBy = (key: KeyObject, signed = challenge, digest = "sha256"): PossessionProof => ({
  signed,
  signature: signBytes(digest, signed, { key, dsaEncoding: "ieee-p1363" }),
});
const verify = (token: string, proof = proofBy(workload.privateKey), now = NOW) =>
  verifyWitSvid(token, proof, own, now);

type Fields = Readonly<Record<string, unknown>>;
const jwkOf = (key: KeyObject, more: Fields = {}) => ({
  jwk: { ...key.export({ format: "jwk" }), alg: "ES256", ...more },
});
const GOOD_HEADER: Fields = { alg: "ES256", kid: "wit", typ: "wit+jwt" };
const GOOD_CLAIMS: Fields = {
  ...{ sub: ID, cnf: jwkOf(workload.publicKey) },
  ...{ exp: SECONDS + 300, iat: SECONDS },
};
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** Signed by hand; `undefined` leaves a field out. */
function makeToken(header: Fields = {}, claims: Fields = {}, key = authority.privateKey): string {
  const signed = `${encode({ ...GOOD_HEADER, ...header })}.${encode({ ...GOOD_CLAIMS, ...claims })}`;
  const signature = signBytes("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

const { jwk: goodJwk } = jwkOf(workload.publicKey);

const REFUSED: readonly (readonly [string, WitSvidRefusal, Fields, Fields])[] = [
  ["no algorithm", "token_algorithm_refused", { alg: undefined }, {}],
  ["the algorithm `none`", "token_algorithm_refused", { alg: "none" }, {}],
  ["a MAC", "token_algorithm_refused", { alg: "HS256" }, {}],
  ["EdDSA", "token_algorithm_refused", { alg: "EdDSA" }, {}],
  ["ES384 by a key of P-256", "authority_unknown", { alg: "ES384" }, {}],
  ["PS256 by a key of P-256", "authority_unknown", { alg: "PS256" }, {}],
  ["no `kid`", "token_header_refused", { kid: undefined }, {}],
  ["an empty `kid`", "token_header_refused", { kid: "" }, {}],
  ["the `kid` of a JWT authority", "authority_unknown", { kid: "jwt" }, {}],
  ["a `kid` in other letters", "authority_unknown", { kid: "WIT" }, {}],
  ["a key in its header", "token_header_refused", { jwk: goodJwk }, {}],
  ["the address of keys", "token_header_refused", { jku: "https://evil.example" }, {}],
  ["x5t", "token_header_refused", { x5t: "AAAA" }, {}],
  ["crit", "token_header_refused", { crit: ["exp"] }, {}],
  ["no type", "token_type_refused", { typ: undefined }, {}],
  ["the type of a JWT-SVID", "token_type_refused", { typ: "JWT" }, {}],
  ["a type in other letters", "token_type_refused", { typ: "WIT+JWT" }, {}],
  ["the type as media type", "token_type_refused", { typ: "application/wit+jwt" }, {}],
  ["no subject", "spiffe_id_malformed", {}, { sub: undefined }],
  ["a subject that is no SPIFFE ID", "spiffe_id_malformed", {}, { sub: "agent" }],
  ["the trust domain as subject", "spiffe_id_without_path", {}, { sub: "spiffe://example.org" }],
  ["an audience", "audience_present", {}, { aud: ["https://api.example"] }],
  ["an empty list of audiences", "audience_present", {}, { aud: [] }],
  ["null as audience", "audience_present", {}, { aud: null }],
  ["no key", "key_malformed", {}, { cnf: undefined }],
  ["a key that is text", "key_malformed", {}, { cnf: "key" }],
  ["an empty confirmation", "key_malformed", {}, { cnf: {} }],
  ["a thumbprint in place of the key", "key_malformed", {}, { cnf: { jkt: "AAAA" } }],
  ["a second key", "key_malformed", {}, { cnf: { jwk: goodJwk, kid: "other" } }],
  ["a key without algorithm", "key_malformed", {}, { cnf: { jwk: { ...goodJwk, alg: undefined } } }],
  ["a key for `none`", "key_malformed", {}, { cnf: { jwk: { ...goodJwk, alg: "none" } } }],
  ["a key for a MAC", "key_malformed", {}, { cnf: { jwk: { kty: "oct", k: "AAAA", alg: "HS256" } } }],
  [
    "a key for another curve's algorithm",
    "key_malformed",
    {},
    { cnf: { jwk: { ...goodJwk, alg: "ES384" } } },
  ],
  ["a key for another kind's algorithm", "key_malformed", {}, { cnf: { jwk: { ...goodJwk, alg: "RS256" } } }],
  ["a private key", "key_malformed", {}, { cnf: jwkOf(workload.privateKey) }],
  ["a broken key", "key_malformed", {}, { cnf: { jwk: { ...goodJwk, x: "AAAA" } } }],
  ["a weak key", "key_malformed", {}, { cnf: jwkOf(weak.publicKey, { alg: "RS256" }) }],
  ["a key of Ed25519", "key_malformed", {}, { cnf: jwkOf(ed.publicKey, { alg: "EdDSA" }) }],
  ["no end", "time_missing", {}, { exp: undefined }],
  ["an end as text", "time_missing", {}, { exp: String(SECONDS + 300) }],
  ["an end that is reached", "expired", {}, { exp: SECONDS }],
  ["a beginning that is ahead", "not_yet_valid", {}, { nbf: SECONDS + 1 }],
  ["a beginning as text", "time_missing", {}, { nbf: "0" }],
  ["a trust domain without a bundle", "trust_domain_unknown", {}, { sub: "spiffe://other.org/a" }],
];

describe("a WIT-SVID", () => {
  it.each(REFUSED)("is refused with %s", (_, reason, header, claims) => {
    expect(verify(makeToken(header, claims))).toEqual({ ok: false, reason });
  });

  it("is accepted where all of that is right, which the table above depends on", () => {
    const expected = { ok: true, value: { id: { uri: ID }, expiresAt: (SECONDS + 300) * 1000 } };
    expect(verify(makeToken())).toMatchObject(expected);
    expect(verify(makeToken({}, { jti: "one", extra: { any: 1 }, nbf: SECONDS }))).toMatchObject(expected);
  });

  it("is refused where the public key of its authority was used as the secret of a MAC", () => {
    const signed = `${encode({ ...GOOD_HEADER, alg: "HS256" })}.${encode(GOOD_CLAIMS)}`;
    const secret = authority.publicKey.export({ type: "spki", format: "pem" });
    const mac = createHmac("sha256", secret).update(signed).digest("base64url");
    expect(verify(`${signed}.${mac}`)).toEqual({ ok: false, reason: "token_algorithm_refused" });
  });

  it("is refused by any key but its trust domain's for WIT-SVIDs, and after any change of it", () => {
    for (const { privateKey } of [stranger, jwtAuthority, workload])
      expect(verify(makeToken({}, {}, privateKey))).toEqual({ ok: false, reason: "signature_wrong" });
    const [header, , signature] = makeToken().split(".");
    const other = encode({ ...GOOD_CLAIMS, sub: "spiffe://example.org/b" });
    expect(verify(`${header}.${other}.${signature}`)).toEqual({ ok: false, reason: "signature_wrong" });
    expect(verify(`${header}.${other}`)).toEqual({ ok: false, reason: "token_malformed" });
    const { witAuthorities: _, ...without } = bundle;
    const found = verifyWitSvid(makeToken(), proofBy(workload.privateKey), () => without, NOW);
    expect(found).toEqual({ ok: false, reason: "authority_unknown" });
  });

  it.each<[string, WitSvidRefusal, unknown]>([
    ["without a proof", "proof_missing", undefined],
    ["with a proof of nothing", "proof_missing", proofBy(workload.privateKey, Buffer.alloc(0))],
    ["with a proof of what can be guessed", "proof_missing", proofBy(workload.privateKey, Buffer.alloc(15))],
    ["with an empty signature", "proof_wrong", { signed: challenge, signature: Buffer.alloc(0) }],
    ["with a signature of zeros", "proof_wrong", { signed: challenge, signature: Buffer.alloc(64) }],
    ["with somebody else's proof", "proof_wrong", proofBy(stranger.privateKey)],
    ["with its authority's proof", "proof_wrong", proofBy(authority.privateKey)],
    ["with a proof by another curve", "proof_wrong", proofBy(p384.privateKey, challenge, "sha384")],
    ["with a proof by another digest", "proof_wrong", proofBy(workload.privateKey, challenge, "sha384")],
    [
      "with a proof of another challenge",
      "proof_wrong",
      { ...proofBy(workload.privateKey, randomBytes(32)), signed: challenge },
    ],
  ])("%s is nobody's", (_, reason, proof) => {
    const token = makeToken();
    expect(verifyWitSvid(token, proof as PossessionProof, own, NOW)).toEqual({ ok: false, reason });
  });

  it("is no JWT-SVID, whatever its type says and whatever audience it has", () => {
    const forged = [
      makeToken(),
      makeToken({ typ: "JWT", kid: "jwt" }, { aud: ["api"] }, jwtAuthority.privateKey),
    ];
    expect(forged.map((token) => verifyJwtSvid(token, "api", own, NOW))).toEqual([
      { ok: false, reason: "token_type_refused" },
      { ok: false, reason: "token_bound_to_key" },
    ]);
  });
});

describe("writeWitSvid", () => {
  const write = (life: number) =>
    writeWitSvid(
      {
        ...{ spiffeId: ID, publicKey: workload.publicKey.export({ type: "spki", format: "der" }) },
        ...{ issuedAt: NOW, expiresAt: NOW + life, authorityId: "wit" },
      },
      (bytes) => signBytes("sha256", bytes, { key: authority.privateKey, dsaEncoding: "ieee-p1363" }),
    );

  it("writes what the verifier takes until its end, and what somebody else's library reads the same in", async () => {
    const token = write(60_000);
    expect(verify(token)).toMatchObject({ ok: true, value: { id: { uri: ID }, expiresAt: NOW + 60_000 } });
    expect(verify(token, undefined, NOW + 60_000)).toEqual({ ok: false, reason: "expired" });
    expect(decodeProtectedHeader(token)).toEqual(GOOD_HEADER);
    const { payload } = await jwtVerify(token, authority.publicKey, { currentDate: new Date(NOW) });
    expect(payload).toEqual({ ...GOOD_CLAIMS, exp: SECONDS + 60 });
    const { jwk } = payload["cnf"] as { jwk: JWK };
    expect(await importJWK(jwk)).toMatchObject({ type: "public" });
  });
});
