// SPDX-License-Identifier: Apache-2.0
/**
 * Is this token what it says, from whom it says, for us, now? The one verifier of JSON Web Tokens (RFC 7519, RFC 8725).
 *
 * Strict on purpose: compact form only, header members from a closed set, no member twice, an end and a beginning
 * in every token, one audience, algorithms from the settings and never from the token.
 */
import { type Result, ok, refuse } from "../result.ts";
import { isJwtAlgorithm, type JwtAlgorithm, verifyBytes } from "./algorithms.ts";
import { selectKey, type VerificationKey } from "./key-set.ts";
import { isJsonObject, memberOf, parseStrictJson } from "./strict-json.ts";

export type Claims = Readonly<Record<string, unknown>>;

/** Split and decoded; nothing in it is known to be true. */
export interface UntrustedJwt {
  readonly algorithm: JwtAlgorithm;
  readonly keyId: string | undefined;
  readonly type: string | undefined;
  readonly headerNames: readonly string[];
  readonly claims: Claims;
  readonly signed: Buffer;
  readonly signature: Buffer;
}

export interface JwtRules {
  readonly algorithms: readonly JwtAlgorithm[];
  /** Values of `typ` besides its absence. */
  readonly types: readonly string[];
  readonly issuer: string;
  readonly audience: string;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Seconds from `iat` to `exp`. */
  readonly longestLife: number;
}

declare const verifiedBrand: unique symbol;

/** Made by `verifyJwt` only. */
export interface VerifiedJwt {
  readonly [verifiedBrand]: true;
  readonly claims: Claims;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

export type JwtRefusal =
  | "token_too_large"
  | "token_malformed"
  | "token_header_refused"
  | "token_algorithm_refused"
  | "token_type_refused"
  | "token_issuer_wrong"
  | "token_audience_wrong"
  | "token_time_missing"
  | "token_expired"
  | "token_not_yet_valid"
  | "token_lives_too_long"
  | "token_key_unknown"
  | "token_signature_wrong";

export const MOST_TOKEN_BYTES = 16_384;

/** `x5t` and `x5t#S256` name a certificate that nobody here looks for; Azure and GitHub send them. */
const HEADER_NAMES = new Set(["alg", "kid", "typ", "x5t", "x5t#S256"]);

/** Milliseconds by which an issuer's clock may be ahead of ours. An end is an end: it gets no leeway. */
const AHEAD = 30_000;

export function parseJwt(token: Uint8Array): Result<UntrustedJwt, JwtRefusal> {
  if (token.length > MOST_TOKEN_BYTES) return refuse("token_too_large");
  const text = Buffer.from(token).toString("latin1");
  const parts = text.split(".");
  const [header, claims, signature] = parts.map(decodeBase64url);
  if (parts.length !== 3 || header === undefined || claims === undefined || signature === undefined)
    return refuse("token_malformed");
  const head = parseStrictJson(header);
  const body = parseStrictJson(claims);
  if (!head.ok || !body.ok || !isJsonObject(head.value) || !isJsonObject(body.value))
    return refuse("token_malformed");
  const { alg, kid, typ } = head.value;
  const headerNames = Object.keys(head.value);
  if (headerNames.some((name) => !HEADER_NAMES.has(name))) return refuse("token_header_refused");
  if (!isJwtAlgorithm(alg)) return refuse("token_algorithm_refused");
  if (!isTextOrAbsent(kid) || !isTextOrAbsent(typ)) return refuse("token_header_refused");
  const signed = Buffer.from(text.slice(0, text.lastIndexOf(".")), "latin1");
  return ok({ algorithm: alg, keyId: kid, type: typ, headerNames, claims: body.value, signed, signature });
}

const isTextOrAbsent = (value: unknown): value is string | undefined =>
  value === undefined || (typeof value === "string" && value.length > 0 && value.length <= 512);

/** RFC 7515 §2, in its one canonical form: bits left over at the end would be a second spelling. */
export function decodeBase64url(text: string): Buffer | undefined {
  if (!/^[A-Za-z0-9_-]+$/.test(text)) return undefined;
  const bytes = Buffer.from(text, "base64url");
  return bytes.toString("base64url") === text ? bytes : undefined;
}

/**
 * Everything but the signature. Asked first, so that a token that could not pass anyway makes nobody fetch a key;
 * that it passes says nothing.
 */
export function screenJwt(token: UntrustedJwt, rules: JwtRules): JwtRefusal | undefined {
  const { algorithm, claims, type } = token;
  if (!rules.algorithms.includes(algorithm)) return "token_algorithm_refused";
  if (type !== undefined && !rules.types.includes(type)) return "token_type_refused";
  if (memberOf(claims, "iss") !== rules.issuer) return "token_issuer_wrong";
  if (!isOnlyAudience(memberOf(claims, "aud"), rules.audience)) return "token_audience_wrong";
  return timeProblem(claims, rules);
}

/** One audience, ours: another party that may use the token could use it against us. */
function isOnlyAudience(value: unknown, audience: string): boolean {
  return value === audience || (Array.isArray(value) && value.length === 1 && value[0] === audience);
}

function timeProblem(claims: Claims, { longestLife, now }: JwtRules): JwtRefusal | undefined {
  const [expires, issued, notBefore] = ["exp", "iat", "nbf"].map((name) => memberOf(claims, name));
  if (!isDate(expires) || !isDate(issued) || (notBefore !== undefined && !isDate(notBefore)))
    return "token_time_missing";
  if (expires * 1000 <= now) return "token_expired";
  if (Math.max(issued, notBefore ?? 0) * 1000 > now + AHEAD) return "token_not_yet_valid";
  return expires - issued > longestLife ? "token_lives_too_long" : undefined;
}

/** NumericDate (RFC 7519 §2) up to the year 9999. */
const isDate = (value: unknown): value is number =>
  typeof value === "number" && value >= 0 && value < 253_402_300_800;

export function verifyJwt(
  token: UntrustedJwt,
  keys: readonly VerificationKey[],
  rules: JwtRules,
): Result<VerifiedJwt, JwtRefusal> {
  const problem = screenJwt(token, rules);
  if (problem !== undefined) return refuse(problem);
  const key = selectKey(keys, token.algorithm, token.keyId);
  if (key === undefined) return refuse("token_key_unknown");
  if (!verifyBytes(token.algorithm, key, token.signed, token.signature))
    return refuse("token_signature_wrong");
  const verified = { claims: token.claims, expiresAt: (token.claims["exp"] as number) * 1000 };
  return ok(verified as VerifiedJwt);
}
