// SPDX-License-Identifier: Apache-2.0
/** Writes JWT-SVIDs, and answers whether one is believed, for whom, now (JWT-SVID §2–§5). */
import { ok, refuse, type Result } from "./result.ts";
import { keyFits, verifyBytes } from "./jwt/algorithms.ts";
import { memberOf } from "./jwt/strict-json.ts";
import { type Claims, type JwtRefusal, parseJwt, type UntrustedJwt } from "./jwt/verify-jwt.ts";
import { parseSpiffeId, type SpiffeId } from "./spiffe-id.ts";
import type { TrustBundle } from "./trust-bundle.ts";

export type JwtSvidRefusal =
  | "token_malformed"
  | "token_algorithm_refused"
  | "token_header_refused"
  | "token_type_refused"
  | "token_bound_to_key"
  | "spiffe_id_malformed"
  | "spiffe_id_without_path"
  | "audience_wrong"
  | "time_missing"
  | "expired"
  | "not_yet_valid"
  | "trust_domain_unknown"
  | "authority_unknown"
  | "signature_wrong";

export interface VerifiedJwtSvid {
  readonly id: SpiffeId;
  readonly claims: Claims;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** §2: nothing else may stand in the header, so that nothing else can lead a validator astray. */
const HEADER_NAMES: ReadonlySet<string> = new Set(["alg", "kid", "typ"]);
const TYPES: ReadonlySet<string | undefined> = new Set([undefined, "JWT", "JOSE"]);
const MOST_AUDIENCES = 100;

/** `bundleOf` gives the bundle of a trust domain, where it is believed at all: no other bundle is ever looked at. */
export function verifyJwtSvid(
  token: string,
  audience: string,
  bundleOf: (trustDomain: string) => TrustBundle | undefined,
  now: number,
): Result<VerifiedJwtSvid, JwtSvidRefusal> {
  const parsed = parseJwt(Buffer.from(token, "utf8"));
  if (!parsed.ok) return refuse(isHeaderRefusal(parsed.reason) ? parsed.reason : "token_malformed");
  const { claims, headerNames, type } = parsed.value;
  if (headerNames.some((name) => !HEADER_NAMES.has(name))) return refuse("token_header_refused");
  if (!TYPES.has(type)) return refuse("token_type_refused");
  // RFC 7800 §3.1: whoever only shows it has proved nothing. A WIT-SVID is one of these.
  if (memberOf(claims, "cnf") !== undefined) return refuse("token_bound_to_key");
  const subject = memberOf(claims, "sub");
  const id = typeof subject === "string" ? parseSpiffeId(subject) : undefined;
  if (id?.ok !== true) return refuse("spiffe_id_malformed");
  // X509-SVID §2 says it of its own leaves: the ID of the trust domain names no workload.
  if (id.value.path === "") return refuse("spiffe_id_without_path");
  if (!hasAudience(memberOf(claims, "aud"), audience)) return refuse("audience_wrong");
  const expiresAt = checkTimes(claims, now);
  if (!expiresAt.ok) return expiresAt;
  const bundle = bundleOf(id.value.trustDomain);
  if (bundle === undefined) return refuse("trust_domain_unknown");
  const problem = signatureProblem(parsed.value, bundle);
  return problem === undefined ? ok({ id: id.value, claims, expiresAt: expiresAt.value }) : refuse(problem);
}

const isHeaderRefusal = (
  reason: JwtRefusal,
): reason is JwtRefusal & ("token_algorithm_refused" | "token_header_refused") =>
  reason === "token_algorithm_refused" || reason === "token_header_refused";

/** §3.2: ours must be among them. */
function hasAudience(value: unknown, audience: string): boolean {
  const all: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (audience === "" || all.length > MOST_AUDIENCES) return false;
  return all.every((each) => typeof each === "string") && all.includes(audience);
}

/** §3.3. No leeway: an end is an end. */
export function checkTimes(
  claims: Claims,
  now: number,
): Result<number, "time_missing" | "expired" | "not_yet_valid"> {
  const [expires, notBefore] = [memberOf(claims, "exp"), memberOf(claims, "nbf")];
  if (!isDate(expires) || (notBefore !== undefined && !isDate(notBefore))) return refuse("time_missing");
  if (expires * 1000 <= now) return refuse("expired");
  return notBefore !== undefined && notBefore * 1000 > now ? refuse("not_yet_valid") : ok(expires * 1000);
}

/** NumericDate (RFC 7519 §2) up to the year 9999. */
const isDate = (value: unknown): value is number =>
  typeof value === "number" && value >= 0 && value < 253_402_300_800;

/** §2.2: `kid` may be absent; then every authority whose key fits is tried, of which a bundle has a bounded number. */
function signatureProblem(token: UntrustedJwt, bundle: TrustBundle): JwtSvidRefusal | undefined {
  const candidates = bundle.jwtAuthorities.filter(
    ({ id, key }) => (token.keyId === undefined || id === token.keyId) && keyFits(key, token.algorithm),
  );
  if (candidates.length === 0) return "authority_unknown";
  return candidates.some(({ key }) => verifyBytes(token.algorithm, key, token.signed, token.signature))
    ? undefined
    : "signature_wrong";
}

export interface JwtSvidSpec {
  readonly spiffeId: string;
  readonly audience: readonly string[];
  /** Milliseconds since 1970; a token knows whole seconds only. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** `kid` of the authority that signs. */
  readonly authorityId: string;
}

/** `sign` is ECDSA P-256 with SHA-256, 64 bytes (RFC 7518 §3.4). */
export function writeJwtSvid(spec: JwtSvidSpec, sign: (bytes: Buffer) => Buffer): string {
  const header = encode({ alg: "ES256", kid: spec.authorityId, typ: "JWT" });
  const claims = encode({
    sub: spec.spiffeId,
    aud: spec.audience,
    iat: Math.floor(spec.issuedAt / 1000),
    exp: Math.floor(spec.expiresAt / 1000),
  });
  const signed = `${header}.${claims}`;
  return `${signed}.${sign(Buffer.from(signed, "ascii")).toString("base64url")}`;
}

export const encode = (value: object): string =>
  Buffer.from(JSON.stringify(value), "utf8").toString("base64url");
