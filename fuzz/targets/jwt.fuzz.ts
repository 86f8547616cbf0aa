// SPDX-License-Identifier: Apache-2.0
/** Is a token believed only byte for byte as its issuer has signed it, whatever it says of itself? */
import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { parseKeySet } from "../../packages/identity/src/jwt/key-set.ts";
import { parseStrictJson } from "../../packages/identity/src/jwt/strict-json.ts";
import { JWT_ALGORITHMS } from "../../packages/identity/src/jwt/algorithms.ts";
import { parseJwt, verifyJwt } from "../../packages/identity/src/jwt/verify-jwt.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

/** The key of RFC 7515 §A.3: always the same, so that the corpus stays valid. */
const jwk = {
  kty: "EC",
  crv: "P-256",
  d: "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
  x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
  y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
};
const privateKey = createPrivateKey({ key: jwk, format: "jwk" });
const published = JSON.stringify({
  keys: [{ ...createPublicKey(privateKey).export({ format: "jwk" }), kid: "k", use: "sig" }],
});
const keys = parseKeySet(Buffer.from(published));

const NOW = 1_790_000_000_000;
const rules = {
  algorithms: JWT_ALGORITHMS,
  types: ["JWT"],
  issuer: "https://issuer.example",
  audience: "postern",
  now: NOW,
  longestLife: 3600,
};
const claims = { iss: rules.issuer, aud: "postern", sub: "s", iat: NOW / 1000 - 10, exp: NOW / 1000 + 300 };

const b64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const token = (payload: object, header: object = {}): string => {
  const signed = `${b64({ alg: "ES256", kid: "k", typ: "JWT", ...header })}.${b64(payload)}`;
  return `${signed}.${sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
};
const signedTokens = [token(claims), token({ ...claims, sub: "other" })];
const MORE = [
  token({ ...claims, aud: "other" }),
  token({ ...claims, exp: 1 }),
  token(claims, { alg: "none" }),
  token(claims, { crit: ["x"] }),
  token({ ...claims, aud: ["postern", "other"] }),
];

function check(input: Buffer): void {
  demand(keys.ok, "the key set is refused");
  const parsed = parseJwt(input);
  if (parsed.ok) {
    const verified = verifyJwt(parsed.value, keys.value, rules);
    const text = input.toString("latin1");
    const isSigned = signedTokens.some(
      (one) => one.slice(0, one.lastIndexOf(".")) === text.slice(0, text.lastIndexOf(".")),
    );
    demand(!verified.ok || isSigned, "a token was believed that nobody signed");
    if (verified.ok) demandEqual(verified.value.claims["iss"], rules.issuer, "the issuer");
    demand(
      verified.ok || !signedTokens.includes(text),
      `a sound token was refused: ${verified.ok ? "" : verified.reason}`,
    );
  }
  const set = parseKeySet(input);
  if (set.ok)
    demand(
      set.value.every(({ key }) => key.type === "public"),
      "a private key was taken",
    );
  checkJson(input);
}

/** JSON that is taken says the same to JSON.parse, and nothing twice. */
function checkJson(input: Buffer): void {
  const strict = parseStrictJson(input);
  if (!strict.ok) return;
  demandEqual(strict.value, JSON.parse(input.toString("utf8")), "strict JSON");
  const names = [...input.toString("utf8").matchAll(/"(?:[^"\\]|\\.)*"(?=\s*:)/gs)].length;
  demandEqual(countNames(strict.value), names, "names, of which none is lost");
}

function countNames(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce((sum: number, each) => sum + countNames(each), own);
}

const JSONS = [
  '{"a":1,"a":2}',
  '{"a":{"b":1},"\\u0061":2}',
  '{"keys":[]}',
  published,
  '{"__proto__":1}',
  '["a:",{"b":"\\":"}]',
];

const target: FuzzTarget = {
  parsers: [
    "packages/identity/src/jwt/verify-jwt.ts",
    "packages/identity/src/jwt/key-set.ts",
    "packages/identity/src/jwt/strict-json.ts",
  ],
  property:
    "Only a header and claims that the issuer has signed are believed; JSON that is taken says nothing twice; no private key is taken for a public one.",
  words: [
    ...signedTokens,
    ...MORE,
    ...JSONS,
    ".",
    b64({ alg: "none" }),
    b64({ alg: "HS256" }),
    b64(claims),
    "=",
  ],
  make: (choose) => choose.pick([...signedTokens, ...MORE, ...JSONS]),
  check,
};
export default target;
