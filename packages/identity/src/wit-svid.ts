// SPDX-License-Identifier: Apache-2.0
/**
 * Writes WIT-SVIDs, and answers whether one is believed, of whoever has just used its key (WIT-SVID §2–§4).
 *
 * Stricter than §2.4 asks: what else stands in the header is refused and not ignored, as with every other token here.
 */
import type { KeyObject } from "node:crypto";
import { isJwtAlgorithm, type JwtAlgorithm, keyFits, verifyBytes } from "./jwt/algorithms.ts";
import { readPublicJwk } from "./jwt/key-set.ts";
import { isJsonObject, memberOf } from "./jwt/strict-json.ts";
import { parseJwt, type UntrustedJwt } from "./jwt/verify-jwt.ts";
import { checkTimes, encode } from "./jwt-svid.ts";
import { ok, refuse, type Result } from "./result.ts";
import { parseSpiffeId, type SpiffeId } from "./spiffe-id.ts";
import type { TrustBundle } from "./trust-bundle.ts";

export type WitSvidRefusal =
  | "token_malformed"
  | "token_algorithm_refused"
  | "token_header_refused"
  | "token_type_refused"
  | "spiffe_id_malformed"
  | "spiffe_id_without_path"
  | "audience_present"
  | "key_malformed"
  | "time_missing"
  | "expired"
  | "not_yet_valid"
  | "trust_domain_unknown"
  | "authority_unknown"
  | "signature_wrong"
  | "proof_missing"
  | "proof_wrong";

/** §7.1: what the key of the token has signed, for us and for this one time. */
export interface PossessionProof {
  /** A challenge of the caller's own, or what it has checked to be for itself, such as a Workload Proof Token. */
  readonly signed: Buffer;
  /** By `cnf.jwk.alg`; ECDSA as r ‖ s (RFC 7518 §3.4). */
  readonly signature: Buffer;
}

export interface VerifiedWitSvid {
  readonly id: SpiffeId;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

const TYPE = "wit+jwt";
const HEADER_NAMES: ReadonlySet<string> = new Set(["alg", "kid", "typ"]);
/** RFC 7518 §6: what a key must not show (§3.2). */
const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/** What is shorter can be guessed, and so have been signed before it was asked for. */
const LEAST_SIGNED_BYTES = 16;

/** There is no way to ask for less than the proof. `bundleOf` as in `verifyJwtSvid`. */
export function verifyWitSvid(
  token: string,
  proof: PossessionProof,
  bundleOf: (trustDomain: string) => TrustBundle | undefined,
  now: number,
): Result<VerifiedWitSvid, WitSvidRefusal> {
  const parsed = parseWit(token);
  if (!parsed.ok) return parsed;
  const { claims } = parsed.value;
  const subject = memberOf(claims, "sub");
  const id = typeof subject === "string" ? parseSpiffeId(subject) : undefined;
  if (id?.ok !== true) return refuse("spiffe_id_malformed");
  if (id.value.path === "") return refuse("spiffe_id_without_path");
  // §3.8: whom it is for is said by the proof.
  if (memberOf(claims, "aud") !== undefined) return refuse("audience_present");
  const bound = boundKey(memberOf(claims, "cnf"));
  if (bound === undefined) return refuse("key_malformed");
  const expiresAt = checkTimes(claims, now);
  if (!expiresAt.ok) return expiresAt;
  const bundle = bundleOf(id.value.trustDomain);
  if (bundle === undefined) return refuse("trust_domain_unknown");
  const problem = signatureProblem(parsed.value, bundle) ?? proofProblem(proof, bound);
  return problem === undefined ? ok({ id: id.value, expiresAt: expiresAt.value }) : refuse(problem);
}

function parseWit(token: string): Result<UntrustedJwt, WitSvidRefusal> {
  const parsed = parseJwt(Buffer.from(token, "utf8"));
  if (!parsed.ok) {
    const { reason } = parsed;
    const isOfHeader = reason === "token_algorithm_refused" || reason === "token_header_refused";
    return refuse(isOfHeader ? reason : "token_malformed");
  }
  const { headerNames, keyId, type } = parsed.value;
  if (headerNames.some((name) => !HEADER_NAMES.has(name)) || keyId === undefined)
    return refuse("token_header_refused");
  return type === TYPE ? parsed : refuse("token_type_refused");
}

interface BoundKey {
  readonly key: KeyObject;
  readonly algorithm: JwtAlgorithm;
}

/** §3.2: one public key, with the one algorithm that it signs by. */
function boundKey(confirmation: unknown): BoundKey | undefined {
  const jwk = isJsonObject(confirmation) ? memberOf(confirmation, "jwk") : undefined;
  // RFC 7800 §3.1: one key. Of two nobody could tell which is meant.
  if (!isJsonObject(jwk) || Object.keys(confirmation as object).length !== 1) return undefined;
  if (PRIVATE_MEMBERS.some((name) => Object.hasOwn(jwk, name))) return undefined;
  const algorithm = memberOf(jwk, "alg");
  const key = readPublicJwk(jwk);
  return key !== undefined && isJwtAlgorithm(algorithm) && keyFits(key, algorithm)
    ? { key, algorithm }
    : undefined;
}

/** Keys of other uses are never tried, also where their `kid` is the same (§6.2). */
function signatureProblem(token: UntrustedJwt, bundle: TrustBundle): WitSvidRefusal | undefined {
  const authority = bundle.witAuthorities?.find(({ id }) => id === token.keyId);
  if (authority === undefined || !keyFits(authority.key, token.algorithm)) return "authority_unknown";
  const isSigned = verifyBytes(token.algorithm, authority.key, token.signed, token.signature);
  return isSigned ? undefined : "signature_wrong";
}

/** Callers without types may leave it away. */
function proofProblem(
  proof: PossessionProof | undefined,
  { algorithm, key }: BoundKey,
): WitSvidRefusal | undefined {
  if (proof === undefined || proof.signed.length < LEAST_SIGNED_BYTES) return "proof_missing";
  return verifyBytes(algorithm, key, proof.signed, proof.signature) ? undefined : "proof_wrong";
}

export interface WitSvidSpec {
  readonly spiffeId: string;
  /** SubjectPublicKeyInfo of a P-256 key, DER. */
  readonly publicKey: Buffer;
  /** Milliseconds since 1970; a token knows whole seconds only. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** `kid` of the authority that signs. */
  readonly authorityId: string;
}

/** `sign` as in `writeJwtSvid`. */
export function writeWitSvid(spec: WitSvidSpec, sign: (bytes: Buffer) => Buffer): string {
  // The point is the end of the DER (RFC 5480 §2.2).
  const [x, y] = [spec.publicKey.subarray(-64, -32), spec.publicKey.subarray(-32)];
  const jwk = {
    alg: "ES256",
    crv: "P-256",
    kty: "EC",
    x: x.toString("base64url"),
    y: y.toString("base64url"),
  };
  const header = encode({ alg: "ES256", kid: spec.authorityId, typ: TYPE });
  const claims = encode({
    sub: spec.spiffeId,
    cnf: { jwk },
    iat: Math.floor(spec.issuedAt / 1000),
    exp: Math.floor(spec.expiresAt / 1000),
  });
  const signed = `${header}.${claims}`;
  return `${signed}.${sign(Buffer.from(signed, "ascii")).toString("base64url")}`;
}
