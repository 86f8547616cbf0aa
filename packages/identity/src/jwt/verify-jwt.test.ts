// SPDX-License-Identifier: Apache-2.0
/** Hostile tokens first; then `jose`, which shares no line with ours, as the other opinion. */
import { constants, createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import * as jose from "jose";
import { describe, expect, test } from "vitest";
import { JWT_ALGORITHMS, type JwtAlgorithm } from "./algorithms.ts";
import { parseKeySet } from "./key-set.ts";
import { type JwtRules, parseJwt, screenJwt, verifyJwt } from "./verify-jwt.ts";

const NOW = 1_790_000_000_000;
const seconds = NOW / 1000;
const ec = (namedCurve: string) => generateKeyPairSync("ec", { namedCurve });
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const pairs: Readonly<Record<JwtAlgorithm, { publicKey: KeyObject; privateKey: KeyObject }>> = {
  ...{ RS256: rsa, RS384: rsa, RS512: rsa, PS256: rsa, PS384: rsa, PS512: rsa },
  ...{ ES256: ec("P-256"), ES384: ec("P-384"), ES512: ec("P-521") },
};
const jwk = (algorithm: JwtAlgorithm, more: object = {}) => ({
  ...pairs[algorithm].publicKey.export({ format: "jwk" }),
  kid: algorithm,
  ...more,
});
const bytesOf = (keys: readonly object[]) => Buffer.from(JSON.stringify({ keys }));
const keysOf = (...keys: object[]) => {
  const parsed = parseKeySet(bytesOf(keys));
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.value;
};
const ALL = keysOf(...JWT_ALGORITHMS.map((algorithm) => jwk(algorithm)));

const rules: JwtRules = {
  algorithms: JWT_ALGORITHMS,
  types: ["JWT"],
  issuer: "https://issuer.example",
  audience: "postern",
  now: NOW,
  longestLife: 3600,
};
const claims = { iss: rules.issuer, aud: "postern", sub: "s", iat: seconds - 10, exp: seconds + 300 };

const b64 = (value: unknown) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

/** Signs whatever it is given, as no decent library would. */
function token(payload: unknown, header: object = {}, algorithm: JwtAlgorithm = "ES256"): string {
  const signed = `${b64({ alg: algorithm, kid: algorithm, typ: "JWT", ...header })}.${b64(payload)}`;
  const key = pairs[algorithm].privateKey;
  const options = algorithm.startsWith("PS")
    ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : { key, dsaEncoding: "ieee-p1363" as const };
  return `${signed}.${sign(`sha${algorithm.slice(2)}`, Buffer.from(signed), options).toString("base64url")}`;
}

function verdict(text: string, keys = ALL, more: Partial<JwtRules> = {}): string {
  const parsed = parseJwt(Buffer.from(text));
  const verified = parsed.ok ? verifyJwt(parsed.value, keys, { ...rules, ...more }) : parsed;
  return verified.ok ? "verified" : verified.reason;
}

const [head, body, signature] = token(claims).split(".") as [string, string, string];

describe("a hostile token", () => {
  const publicPem = pairs.RS256.publicKey.export({ type: "spki", format: "pem" });
  const macHeader = `${b64({ alg: "HS256", kid: "RS256" })}.${body}`;

  test.each<[string, string, string]>([
    ["has no signature", `${b64({ alg: "none" })}.${body}.`, "token_malformed"],
    ["says none and is signed", token(claims, { alg: "none" }), "token_algorithm_refused"],
    ["says None", token(claims, { alg: "None" }), "token_algorithm_refused"],
    [
      "uses the public key as a secret",
      `${macHeader}.${createHmac("sha256", publicPem).update(macHeader).digest("base64url")}`,
      "token_algorithm_refused",
    ],
    ["takes an algorithm of another kind of key", token(claims, { alg: "RS256" }), "token_key_unknown"],
    ["takes another curve", token(claims, { kid: "ES384" }), "token_key_unknown"],
    ["brings its key along", token(claims, { jwk: jwk("ES256") }), "token_header_refused"],
    ["says where its key is", token(claims, { jku: "https://evil.example/keys" }), "token_header_refused"],
    ["brings a certificate", token(claims, { x5c: ["AAAA"] }), "token_header_refused"],
    ["says where its certificate is", token(claims, { x5u: "https://evil.example" }), "token_header_refused"],
    ["has critical members", token(claims, { crit: ["b64"], b64: false }), "token_header_refused"],
    ["is compressed", token(claims, { zip: "DEF" }), "token_header_refused"],
    ["is nested", token(claims, { cty: "JWT" }), "token_header_refused"],
    ["has a number for kid", token(claims, { kid: 1 }), "token_header_refused"],
    ["has an unknown kid", token(claims, { kid: "../../etc/passwd" }), "token_key_unknown"],
    ["is of another type", token(claims, { typ: "wit+jwt" }), "token_type_refused"],
    ["is encrypted", `${head}.a.b.c.d`, "token_malformed"],
    ["is JSON serialized", JSON.stringify({ protected: head, payload: body, signature }), "token_malformed"],
    ["is padded", `${head}.${body}.${signature}==`, "token_malformed"],
    ["is standard base64", `${head}.${body}.+${signature.slice(1)}`, "token_malformed"],
    ["has a space", `${head}.${body}.${signature} `, "token_malformed"],
    ["has a line end", `${head}.${body}.${signature}\n`, "token_malformed"],
    ["has empty claims", token([]), "token_malformed"],
    ["is empty", "", "token_malformed"],
    ["is huge", `${head}.${"a".repeat(20_000)}.${signature}`, "token_too_large"],
    ["names the subject twice", token(JSON.stringify(claims).replace("{", '{"sub":"x",')), "token_malformed"],
    ["names alg twice", `${b64('{"alg":"none","alg":"ES256"}')}.${body}.${signature}`, "token_malformed"],
    ["was changed", `${head}.${b64({ ...claims, sub: "root" })}.${signature}`, "token_signature_wrong"],
    ["has zeros for a signature", `${head}.${body}.${b64("\0".repeat(64))}`, "token_signature_wrong"],
    ["has half a signature", `${head}.${body}.${signature.slice(0, 40)}`, "token_signature_wrong"],
    ["has another issuer", token({ ...claims, iss: "https://issuer.example/" }), "token_issuer_wrong"],
    ["has a list of issuers", token({ ...claims, iss: [rules.issuer] }), "token_issuer_wrong"],
    ["is for somebody else", token({ ...claims, aud: "other" }), "token_audience_wrong"],
    ["is for somebody else too", token({ ...claims, aud: ["postern", "other"] }), "token_audience_wrong"],
    ["is for nobody", token({ ...claims, aud: [] }), "token_audience_wrong"],
    ["is for anybody", token({ ...claims, aud: undefined }), "token_audience_wrong"],
    ["has expired this moment", token({ ...claims, exp: seconds }), "token_expired"],
    ["never expires", token({ ...claims, exp: undefined }), "token_time_missing"],
    ["expires in words", token({ ...claims, exp: `${seconds + 60}` }), "token_time_missing"],
    [
      "expires at infinity",
      token(JSON.stringify(claims).replace(/"exp":\d+/, '"exp":1e999')),
      "token_time_missing",
    ],
    ["never began", token({ ...claims, iat: undefined }), "token_time_missing"],
    ["lives too long", token({ ...claims, exp: seconds + 3601 }), "token_lives_too_long"],
    ["is from the future", token({ ...claims, iat: seconds + 31 }), "token_not_yet_valid"],
    ["begins later", token({ ...claims, nbf: seconds + 31 }), "token_not_yet_valid"],
    ["begins in words", token({ ...claims, nbf: "0" }), "token_time_missing"],
  ])("that %s is refused", (_, text, reason) => {
    expect(verdict(text)).toBe(reason);
  });

  test("with bits left over in its base64url is refused: it would be another spelling of one token", () => {
    const last = signature.at(-1)!;
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const twin = alphabet[alphabet.indexOf(last) ^ 1]!;
    expect(Buffer.from(signature, "base64url")).toEqual(
      Buffer.from(signature.slice(0, -1) + twin, "base64url"),
    );
    expect(verdict(`${head}.${body}.${signature.slice(0, -1)}${twin}`)).toBe("token_malformed");
  });

  test("of an algorithm that the settings leave out is refused, though its key is there", () => {
    expect(verdict(token(claims), ALL, { algorithms: ["RS256"] })).toBe("token_algorithm_refused");
  });

  test("is screened before any key is asked for", () => {
    const parsed = parseJwt(Buffer.from(token({ ...claims, aud: "other" })));
    expect(parsed.ok && screenJwt(parsed.value, rules)).toBe("token_audience_wrong");
  });
});

describe("a key set", () => {
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey.export({ format: "jwk" });
  const ed25519 = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" });
  const { privateKey } = pairs.ES256;

  test.each<[string, object]>([
    ["a weak RSA key", weak],
    ["an Ed25519 key", ed25519],
    ["a secret", { kty: "oct", k: "AAAA" }],
    ["a key for encryption", jwk("ES256", { use: "enc" })],
    ["a key of an SVID", jwk("ES256", { use: "jwt-svid" })],
    ["a key that may only sign", jwk("ES256", { key_ops: ["sign"] })],
    ["a private key", privateKey.export({ format: "jwk" })],
    ["a point that is not on the curve", jwk("ES256", { x: jwk("ES256").y })],
    ["RSA with the exponent one", { ...jwk("RS256"), e: "AQ" }],
    ["nothing", {}],
  ])("passes over %s", (_, entry) => {
    expect(keysOf(entry)).toEqual([]);
  });

  test.each<[string, Buffer, string]>([
    ["names a member twice", Buffer.from('{"keys":[],"keys":[]}'), "json_duplicate_name"],
    ["is a list", Buffer.from("[]"), "key_set_malformed"],
    ["is an HTML page", Buffer.from("<html>"), "json_malformed"],
    ["has too many keys", bytesOf(Array.from({ length: 101 }, () => ({}))), "key_set_too_large"],
    ["is too long", Buffer.alloc(262_145, " "), "key_set_too_large"],
  ])("that %s is refused", (_, bytes, reason) => {
    expect(parseKeySet(bytes)).toEqual({ ok: false, reason });
  });

  test("with two keys of one kid verifies nothing: it does not say which", () => {
    const other = ec("P-256").publicKey.export({ format: "jwk" });
    expect(verdict(token(claims), keysOf(jwk("ES256"), { ...other, kid: "ES256" }))).toBe(
      "token_key_unknown",
    );
  });

  test("says which algorithm a key is for", () => {
    const text = token(claims, { alg: "PS256", kid: "k" }, "PS256");
    expect(verdict(text, keysOf(jwk("RS256", { kid: "k", alg: "RS256" })))).toBe("token_key_unknown");
    expect(verdict(text, keysOf(jwk("RS256", { kid: "k", alg: "PS256" })))).toBe("verified");
  });

  test("with one key that fits serves tokens without kid, with two it does not", () => {
    const text = token(claims, { kid: undefined });
    expect(verdict(text, keysOf(jwk("ES256"), jwk("RS256")))).toBe("verified");
    expect(verdict(text, keysOf(jwk("ES256"), jwk("ES256", { kid: "other" })))).toBe("token_key_unknown");
  });
});

describe("against jose", () => {
  test.each(JWT_ALGORITHMS)(
    "what jose signs with %s is verified, and what we sign jose verifies",
    async (algorithm) => {
      const made = await new jose.SignJWT(claims)
        .setProtectedHeader({ alg: algorithm, kid: algorithm, typ: "JWT" })
        .sign(pairs[algorithm].privateKey);
      expect(verdict(made)).toBe("verified");
      const ours = token(claims, {}, algorithm);
      expect(verdict(ours)).toBe("verified");
      const options = { issuer: rules.issuer, audience: rules.audience, currentDate: new Date(NOW) };
      const read = await jose.jwtVerify(ours, pairs[algorithm].publicKey, options);
      expect(read.payload).toEqual(claims);
    },
  );

  test("nothing that jose refuses is taken", async () => {
    const keys = jose.createLocalJWKSet({
      keys: JWT_ALGORITHMS.map((algorithm) => jwk(algorithm)),
    });
    const good = token(claims);
    let taken = 0;
    for (let at = 0; at < good.length; at++) {
      const bad = good.slice(0, at) + (good[at] === "A" ? "B" : "A") + good.slice(at + 1);
      // eslint-disable-next-line no-await-in-loop
      const jOse = await jose
        .jwtVerify(bad, keys, { issuer: rules.issuer, audience: "postern", currentDate: new Date(NOW) })
        .then(
          () => true,
          () => false,
        );
      if (verdict(bad) === "verified") taken++;
      if (!jOse) expect(verdict(bad), bad).not.toBe("verified");
    }
    expect(taken).toBe(0);
  });
});
