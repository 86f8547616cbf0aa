// SPDX-License-Identifier: Apache-2.0
import { createHmac, generateKeyPairSync, type KeyObject } from "node:crypto";
import { field, mapField, readFields } from "@postern/identity/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CompactSign, FlattenedSign } from "jose";
import { JwtSource } from "./jwt-source.ts";
import type { SpiffeError } from "./spiffe-error.ts";
import { bearerToken } from "./validate-jwt-svid.ts";
import { FakeWorkloadApi } from "./workload-api.fixture.ts";

const BUNDLES = "FetchJWTBundles";
const FETCH = "FetchJWTSVID";
const SUB = "spiffe://example.org/workload";

interface TestKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

function newKey(kid: string, alg = "ES256"): TestKey {
  const curves: Readonly<Record<string, string>> = { ES256: "P-256", ES384: "P-384", ES512: "P-521" };
  const pair =
    alg === "EdDSA"
      ? generateKeyPairSync("ed25519")
      : alg in curves
        ? generateKeyPairSync("ec", { namedCurve: curves[alg]! })
        : generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { kid, alg, ...pair };
}

const key = newKey("one");
const ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"];
const keys = ALGORITHMS.map((alg) => newKey(`key-${alg}`, alg));
const edKey = newKey("ed", "EdDSA");
const partnerKey = newKey("partner");

const jwkOf = ({ kid, publicKey }: TestKey, more: object = {}): object => ({
  ...publicKey.export({ format: "jwk" }),
  ...{ kid, use: "jwt-svid" },
  ...more,
});
const jwks = (...all: readonly object[]): string => JSON.stringify({ keys: all });
const bundles = (of: Readonly<Record<string, string>>): Buffer =>
  Buffer.concat(Object.entries(of).map(([name, text]) => mapField(1, `spiffe://${name}`, text)));

const now = (): number => Math.floor(Date.now() / 1000);
const CLAIMS = { sub: SUB, aud: ["conformance"] as unknown };
const claims = (given: object = {}): object => ({ ...CLAIMS, exp: now() + 300, ...given });

function sign(given: object = claims(), by: TestKey = key, header: object = {}): Promise<string> {
  return new CompactSign(Buffer.from(JSON.stringify(given)))
    .setProtectedHeader({ alg: by.alg, kid: by.kid, typ: "JWT", ...header })
    .sign(by.privateKey);
}

/** A token that no library would write. */
const handMade = (header: object, payload: object, signature: (text: string) => Buffer): string => {
  const text = [header, payload]
    .map((each) => Buffer.from(JSON.stringify(each)).toString("base64url"))
    .join(".");
  return `${text}.${signature(text).toString("base64url")}`;
};
const hmacBy = (hash: string, secret: string) => (text: string) =>
  createHmac(hash, secret).update(text).digest();
const publicPem = key.publicKey.export({ format: "pem", type: "spki" });

let api: FakeWorkloadApi;
let source: JwtSource;
const ALL = {
  "example.org": jwks(jwkOf(key), jwkOf(edKey), ...keys.map((each) => jwkOf(each))),
  "partner.org": jwks(jwkOf(partnerKey)),
};
beforeEach(async () => {
  api = await FakeWorkloadApi.start();
  api.answer(BUNDLES, { message: bundles(ALL) });
  source = await JwtSource.open({ endpoint: api.endpoint });
});
afterEach(async () => {
  source.close();
  await api.stop();
});

async function push(message: Buffer): Promise<void> {
  const changed = new Promise<void>((resolve) => {
    const stop = source.onChange(() => (stop(), resolve()));
  });
  api.push(BUNDLES, message);
  await changed;
}

function refusal(token: string, audience = "conformance"): string {
  try {
    return `accepted for ${source.validate(token, audience).id.uri}`;
  } catch (error) {
    return (error as SpiffeError).reason ?? (error as SpiffeError).code;
  }
}

const flip = (token: string): string =>
  token.slice(0, -3) + (token.at(-3) === "A" ? "B" : "A") + token.slice(-2);
const withPayload = (token: string, payload: object): string => {
  const [header, , signature] = token.split(".");
  return [header, Buffer.from(JSON.stringify(payload)).toString("base64url"), signature].join(".");
};

const REFUSED: readonly (readonly [string, string, () => string | Promise<string>])[] = [
  [
    "JV-3: without a signature",
    "token_algorithm_refused",
    () => handMade({ alg: "none" }, claims(), () => Buffer.alloc(0)).replace(/$/, "AA"),
  ],
  [
    "JV-3: without even its place",
    "token_malformed",
    () => handMade({ alg: "none" }, claims(), () => Buffer.alloc(0)),
  ],
  ...["256", "384", "512"].map(
    (size) =>
      [
        `JV-4: by HS${size} with the public key as secret`,
        "token_algorithm_refused",
        () => handMade({ alg: `HS${size}`, kid: "one" }, claims(), hmacBy(`sha${size}`, publicPem)),
      ] as const,
  ),
  ["JV-5: by a key of Ed25519 that is in the bundle", "token_algorithm_refused", () => sign(claims(), edKey)],
  [
    "JV-6: by RS256 with a key that is none of RSA",
    "authority_unknown",
    () => handMade({ alg: "RS256", kid: "one" }, claims(), () => Buffer.alloc(64)),
  ],
  [
    "JV-6: by ES384 with a key of P-256",
    "authority_unknown",
    () => handMade({ alg: "ES384", kid: "one" }, claims(), () => Buffer.alloc(96)),
  ],
  ["JV-7: without an audience", "audience_wrong", () => sign(claims({ aud: undefined }))],
  ["JV-8: for somebody else", "audience_wrong", () => sign(claims({ aud: ["other"] }))],
  ["JV-11: without an end", "time_missing", () => sign(CLAIMS)],
  ["JV-12: that has ended", "expired", () => sign(claims({ exp: now() - 300 }))],
  ["JV-13: that has not begun", "not_yet_valid", () => sign(claims({ nbf: now() + 300 }))],
  ["JV-14: with one bit of the signature changed", "signature_wrong", async () => flip(await sign())],
  [
    "JV-15: with another subject than was signed",
    "signature_wrong",
    async () => withPayload(await sign(), claims({ sub: "spiffe://example.org/admin" })),
  ],
  ["JV-16: by a key that is not in the bundle", "authority_unknown", () => sign(claims(), newKey("unknown"))],
  [
    "JV-16: by a key that only has the name of one in the bundle",
    "signature_wrong",
    () => sign(claims(), newKey("one")),
  ],
  [
    "JV-17: of a partner, by a key of ours",
    "authority_unknown",
    () => sign(claims({ sub: "spiffe://partner.org/a" })),
  ],
  [
    "JV-18: of a trust domain without a bundle",
    "trust_domain_unknown",
    () => sign(claims({ sub: "spiffe://nobody.org/a" })),
  ],
  ["JV-19: of what is no SPIFFE ID", "spiffe_id_malformed", () => sign(claims({ sub: "alice" }))],
  ["JV-21: of another type", "token_type_refused", () => sign(claims(), key, { typ: "at+jwt" })],
  [
    "JV-23: with a header that must be understood",
    "token_header_refused",
    () => handMade({ alg: "ES256", kid: "one", crit: ["x"], x: 1 }, claims(), () => Buffer.alloc(64)),
  ],
  [
    "JV-24: in JSON",
    "token_malformed",
    async () =>
      JSON.stringify(
        await new FlattenedSign(Buffer.from(JSON.stringify(claims())))
          .setProtectedHeader({ alg: "ES256", kid: "one" })
          .sign(key.privateKey),
      ),
  ],
  ["JV-25: in two parts", "token_malformed", async () => (await sign()).split(".").slice(0, 2).join(".")],
  ["JV-25: in four parts", "token_malformed", async () => `${await sign()}.AA`],
  ["JV-25: with what is no base64url", "token_malformed", async () => `!${await sign()}`],
  [
    "JV-25: with what is no JSON",
    "token_malformed",
    () => `${Buffer.from("{").toString("base64url")}.${Buffer.from("{").toString("base64url")}.AAAA`,
  ],
  ["JV-25: that is empty", "token_malformed", () => ""],
];

const BAD_IDS = [
  "spiffe:///a",
  "spiffe://example.org:8080/a",
  "spiffe://u@example.org/a",
  "spiffe://example.org/a?x=1",
  "spiffe://example.org/a#f",
  "spiffe://example.org/%41",
  "spiffe://example.org/a//b",
  "spiffe://example.org/a/./b",
  "spiffe://example.org/a/../b",
  "spiffe://example.org/a/",
  "spiffe://example.org/a!b",
  "spiffe://t$d/a",
  "spiffe://Example.org/a",
  "SPIFFE://example.org/a",
  `spiffe://example.org/${"a".repeat(2048 - 20)}`,
];

describe("a token", () => {
  it.each(REFUSED)("is refused, %s", async (_, reason, make) => {
    expect(refusal(await sign())).toBe(`accepted for ${SUB}`);
    expect(refusal(await make())).toBe(reason);
  });

  it.each(BAD_IDS)("ID-1: is refused for %s", async (sub) => {
    expect(refusal(await sign(claims({ sub })))).toBe("spiffe_id_malformed");
  });

  it.each([
    "spiffe://example.org/A.b-c_d",
    "spiffe://example.org/0",
    `spiffe://example.org/${"a".repeat(2048 - 21)}`,
  ])("ID-2: is accepted for %s", async (sub) => {
    expect(refusal(await sign(claims({ sub })))).toBe(`accepted for ${sub}`);
  });

  it.each(["my_domain1", "10.0.0.1"])("ID-2: is accepted for a trust domain named %s", async (name) => {
    await push(bundles({ [name]: jwks(jwkOf(key)) }));
    expect(refusal(await sign(claims({ sub: `spiffe://${name}/a` })))).toBe(
      `accepted for spiffe://${name}/a`,
    );
  });

  it("JV-1: gives its subject and its claims", async () => {
    const { id, claims: seen } = source.validate(await sign(claims({ team: "red" })), "conformance");
    expect([id.uri, seen["team"]]).toEqual([SUB, "red"]);
  });

  it.each(keys)("JV-2: is accepted by $alg", async (by) => {
    expect(refusal(await sign(claims(), by))).toBe(`accepted for ${SUB}`);
  });

  it.each([
    ["JV-9: for several", claims({ aud: ["other", "conformance"] }), {}],
    ["JV-10: for one, not in a list", claims({ aud: "conformance" }), {}],
    ["JV-20: of type JOSE", claims(), { typ: "JOSE" }],
    ["JV-20: without a type", claims(), { typ: undefined }],
    ["JV-22: without the name of a key", claims(), { kid: undefined }],
  ])("is accepted, %s", async (_, payload, header) => {
    expect(refusal(await sign(payload, key, header))).toBe(`accepted for ${SUB}`);
  });

  it("is for nobody where nobody says who they are", async () => {
    expect(refusal(await sign(claims({ aud: [""] })), "")).toBe("argument_invalid");
  });

  it("J9: is read from an Authorization header, and from nothing that only looks like one", () => {
    expect(bearerToken("Bearer a.b.c")).toBe("a.b.c");
    expect(bearerToken("bearer a.b.c")).toBe("a.b.c");
    for (const header of [
      undefined,
      "",
      "Basic YTpi",
      "Bearer ",
      "Bearer a b",
      "Bearer a, Bearer b",
      "xBearer a",
    ])
      expect(bearerToken(header)).toBeUndefined();
  });
});

describe("JWT bundles", () => {
  const next = newKey("two");

  it("JB-1, JB-2, W7: are those of the newest answer: keys come and go", async () => {
    const token = await sign(claims(), next);
    expect(refusal(token)).toBe("authority_unknown");
    await push(bundles({ "example.org": jwks(jwkOf(key), jwkOf(next)) }));
    expect(refusal(token)).toBe(`accepted for ${SUB}`);
    await push(bundles({ "example.org": jwks(jwkOf(key)) }));
    expect(refusal(token)).toBe("authority_unknown");
  });

  it("JB-3, JB-8: are one for each trust domain, and one that is gone is believed no more", async () => {
    const token = await sign(claims({ sub: "spiffe://partner.org/a" }), partnerKey);
    expect(refusal(token)).toBe("accepted for spiffe://partner.org/a");
    await push(bundles({ "example.org": ALL["example.org"] }));
    expect(refusal(token)).toBe("trust_domain_unknown");
  });

  it("JB-4: give the key that a token names", async () => {
    const third = newKey("three");
    await push(bundles({ "example.org": jwks(jwkOf(key), jwkOf(next), jwkOf(third)) }));
    expect(refusal(await sign(claims(), next))).toBe(`accepted for ${SUB}`);
    expect(refusal(await sign(claims(), { ...next, kid: "three" }))).toBe("signature_wrong");
  });

  it.each([
    ["JB-5: for another use", { use: "x509-svid" }],
    ["JB-5: without a use", { use: undefined }],
    ["JB-6: of an unknown kind", { kty: "new" }],
  ])("pass over keys %s, and keep the rest", async (_, more) => {
    await push(bundles({ "example.org": jwks(jwkOf(next, more), jwkOf(key)) }));
    expect(refusal(await sign(claims(), next))).toBe("authority_unknown");
    expect(refusal(await sign())).toBe(`accepted for ${SUB}`);
  });

  it("may leave the use of all keys away, as SPIRE's do; then each is for tokens", async () => {
    const plain = jwks(jwkOf(next, { use: undefined }), jwkOf(key, { use: undefined, kty: "new" }));
    await push(bundles({ "example.org": plain, "partner.org": jwks(jwkOf(key)) }));
    expect(refusal(await sign(claims(), next))).toBe(`accepted for ${SUB}`);
    expect(refusal(await sign())).toBe("authority_unknown");
  });

  it("JB-7, B1: without keys believe nobody", async () => {
    await push(bundles({ "example.org": jwks() }));
    expect(refusal(await sign())).toBe("authority_unknown");
  });

  it("that cannot be read make their trust domain believed no more, and no other", async () => {
    await push(bundles({ ...ALL, "example.org": '{"keys":[{"kty":"EC","use":"jwt-svid"}]}' }));
    expect(refusal(await sign())).toBe("trust_domain_unknown");
    expect(refusal(await sign(claims({ sub: "spiffe://partner.org/a" }), partnerKey))).toMatch(/accepted/);
  });

  it("are nobody's after PermissionDenied, until they are given again", async () => {
    const token = await sign();
    const changed = new Promise<void>((resolve) => {
      const stop = source.onChange(() => (stop(), resolve()));
    });
    api.answer(BUNDLES, { status: 7 }, { message: bundles(ALL) });
    api.end(BUNDLES, 7);
    await changed;
    expect(refusal(token)).toBe("trust_domain_unknown");
    await new Promise<void>((resolve) => void source.onChange(resolve));
    expect(refusal(token)).toBe(`accepted for ${SUB}`);
  });
});

describe("asking for a token", () => {
  const svid = (id: string, token: string): Buffer =>
    field(1, Buffer.concat([field(1, id), field(2, token)]));
  const give = async (given: object = {}, id = SUB): Promise<string> => {
    const token = await sign(claims(given));
    api.answer(FETCH, { message: svid(id, token), end: true });
    return token;
  };

  it("JF-1, JF-2, JF-3: names the audiences and the identity as they are", async () => {
    const token = await give({ aud: ["a", "b"] });
    const [got] = await source.fetch(["a", "b"], { id: SUB });
    expect([got.token, got.id.uri]).toEqual([token, SUB]);
    const request = readFields(api.callsOf(FETCH)[0]!.request);
    expect(request.get(1)?.map(String)).toEqual(["a", "b"]);
    expect(request.get(2)?.map(String)).toEqual([SUB]);
    expect(api.callsOf(FETCH)[0]!.headers["workload.spiffe.io"]).toBe("true");
  });

  it("JF-1: asks for no identity where none is named", async () => {
    await give();
    await source.fetch(["conformance"]);
    expect(readFields(api.callsOf(FETCH)[0]!.request).has(2)).toBe(false);
  });

  it("JF-4: says so where there is none", async () => {
    await give();
    await source.fetch(["conformance"]);
    api.answer(FETCH, { status: 7 });
    await expect(source.fetch(["conformance"])).rejects.toMatchObject({ code: "workload_api", status: 7 });
  });

  it("keeps a token until half of its life is over, for its audience only", async () => {
    await give();
    await source.svid("conformance");
    await source.svid("conformance");
    expect(api.callsOf(FETCH).length).toBe(1);
    await give({ aud: ["other"] });
    await source.svid("other");
    expect(api.callsOf(FETCH).length).toBe(2);
  });

  it("drops what it keeps when the keys change", async () => {
    await give();
    await source.svid("conformance");
    await push(bundles({ "example.org": jwks(jwkOf(key)) }));
    await source.svid("conformance");
    expect(api.callsOf(FETCH).length).toBe(2);
  });

  it("keeps no token that was on its way while the keys changed", async () => {
    api.answer(FETCH, { message: svid(SUB, await sign()) });
    const asked = source.svid("conformance");
    await expect.poll(() => api.callsOf(FETCH).length).toBe(1);
    await push(bundles({ "example.org": jwks(jwkOf(key)) }));
    api.end(FETCH, 0);
    await asked;
    await give();
    await source.svid("conformance");
    expect(api.callsOf(FETCH).length).toBe(2);
  });

  it("gives no token once it is closed, not even one that it has", async () => {
    api.answer(BUNDLES, { status: 7 });
    api.end(BUNDLES, 7);
    await expect.poll(() => source.bundleOf("example.org")).toBeUndefined();
    await give();
    await source.svid("conformance");
    source.close();
    await expect(source.svid("conformance")).rejects.toMatchObject({ code: "closed" });
  });

  it.each([
    ["for others", { aud: ["other"] }, SUB],
    ["of another subject than is said", {}, "spiffe://example.org/other"],
    ["that has ended", { exp: now() - 10 }, SUB],
    ["of what is no ID", {}, "nobody"],
  ])("takes no token %s", async (_, given, id) => {
    await give(given, id);
    await expect(source.fetch(["conformance"])).rejects.toMatchObject({ code: "response_invalid" });
  });

  it("takes no answer without a token, and asks nothing without an audience", async () => {
    api.answer(FETCH, { message: Buffer.alloc(0), end: true });
    await expect(source.fetch(["conformance"])).rejects.toMatchObject({ code: "response_invalid" });
    for (const audience of [[], [""], ["a", ""]])
      // One after the other: each must be refused by itself.
      // eslint-disable-next-line no-await-in-loop
      await expect(source.fetch(audience)).rejects.toMatchObject({ code: "argument_invalid" });
    expect(api.callsOf(FETCH).length).toBe(1);
  });
});
