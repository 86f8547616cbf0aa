// SPDX-License-Identifier: Apache-2.0
/**
 * Does somebody hold the key of an X.509-SVID, and say so to us, now?
 *
 * A certificate alone proves nothing: it is public. So it comes in the header of a short JSON Web Signature (`x5c`,
 * RFC 7515 §4.1.6) that its key has made for our audience, once.
 */
import { createPublicKey } from "node:crypto";
import { isJwtAlgorithm, isUsableKey, verifyBytes } from "./jwt/algorithms.ts";
import { isJsonObject, memberOf, parseStrictJson } from "./jwt/strict-json.ts";
import { type Claims, decodeBase64url } from "./jwt/verify-jwt.ts";
import { readCertificate } from "./read-certificate.ts";
import { ok, refuse, type Result } from "./result.ts";
import type { SpiffeId } from "./spiffe-id.ts";
import type { TrustBundle } from "./trust-bundle.ts";
import { verifyX509Svid, type X509SvidRefusal } from "./verify-x509-svid.ts";

/** `typ`: no other signature of the same key can be taken for one of these. */
export const PROOF_TYPE = "x509-svid-proof+jwt";

export interface VerifiedProof {
  readonly id: SpiffeId;
  /** Milliseconds since 1970: the end of the proof or of the SVID, whichever is first. */
  readonly expiresAt: number;
  /** `jti` */
  readonly proofId: string;
}

export type ProofRefusal =
  | X509SvidRefusal
  | "proof_malformed"
  | "proof_algorithm_refused"
  | "proof_audience_wrong"
  | "proof_time_wrong"
  | "proof_signature_wrong";

const MOST_BYTES = 32_768;
const HEADER_NAMES: ReadonlySet<string> = new Set(["alg", "typ", "x5c"]);
/** Seconds from `iat` to `exp`. */
const LONGEST_LIFE = 300;
/** Seconds by which the clock of whoever signs may be ahead. */
const AHEAD = 30;

/** Whether this text is meant as a proof; nothing in it is known to be true. */
export const isProof = (text: string): boolean => {
  const header = decodeBase64url(text.slice(0, Math.max(0, text.indexOf("."))));
  const json = header === undefined || header.length > MOST_BYTES ? undefined : parseStrictJson(header);
  return json?.ok === true && isJsonObject(json.value) && memberOf(json.value, "typ") === PROOF_TYPE;
};

export function verifyX509SvidProof(
  text: string,
  audience: string,
  bundleOf: (trustDomain: string) => TrustBundle | undefined,
  now: number,
): Result<VerifiedProof, ProofRefusal> {
  if (text.length > MOST_BYTES) return refuse("proof_malformed");
  const [header, body, signature, ...more] = text.split(".").map(decodeBase64url);
  if (header === undefined || body === undefined || signature === undefined || more.length > 0)
    return refuse("proof_malformed");
  const [head, claims] = [parseStrictJson(header), parseStrictJson(body)];
  if (!head.ok || !claims.ok || !isJsonObject(head.value) || !isJsonObject(claims.value))
    return refuse("proof_malformed");
  const chain = chainOf(head.value);
  if (chain === undefined) return refuse("proof_malformed");
  const { alg } = head.value;
  if (!isJwtAlgorithm(alg)) return refuse("proof_algorithm_refused");
  const said = readClaims(claims.value, audience, now / 1000);
  if (!said.ok) return said;
  const verified = verifyX509Svid(chain, bundleOf, now);
  if (!verified.ok) return verified;
  const key = keyOf(chain[0]!);
  if (key === undefined) return refuse("key_refused");
  const signed = Buffer.from(text.slice(0, text.lastIndexOf(".")), "latin1");
  if (!verifyBytes(alg, key, signed, signature)) return refuse("proof_signature_wrong");
  const { id, expiresAt } = verified.value;
  const { ends, proofId } = said.value;
  return ok({ id, proofId, expiresAt: Math.min(expiresAt, ends * 1000) });
}

/** DER, the leaf first; base64 as in RFC 4648 §4, in its one form. */
function chainOf(header: Claims): Buffer[] | undefined {
  if (Object.keys(header).some((name) => !HEADER_NAMES.has(name)) || header["typ"] !== PROOF_TYPE)
    return undefined;
  const chain = memberOf(header, "x5c");
  if (!Array.isArray(chain) || chain.length === 0) return undefined;
  const certificates = chain.map((each) =>
    typeof each === "string" ? Buffer.from(each, "base64") : undefined,
  );
  return certificates.every((der, index) => der !== undefined && der.toString("base64") === chain[index])
    ? (certificates as Buffer[])
    : undefined;
}

function readClaims(
  claims: Claims,
  audience: string,
  now: number,
): Result<{ readonly ends: number; readonly proofId: string }, ProofRefusal> {
  const [aud, exp, iat, jti] = ["aud", "exp", "iat", "jti"].map((name) => memberOf(claims, name));
  // One audience, ours: another party that may see the proof could use it here.
  if (aud !== audience && !(Array.isArray(aud) && aud.length === 1 && aud[0] === audience))
    return refuse("proof_audience_wrong");
  if (typeof exp !== "number" || typeof iat !== "number" || exp <= now || iat > now + AHEAD)
    return refuse("proof_time_wrong");
  if (exp - iat > LONGEST_LIFE) return refuse("proof_time_wrong");
  if (typeof jti !== "string" || jti.length < 16 || jti.length > 200) return refuse("proof_malformed");
  return ok({ ends: exp, proofId: jti });
}

function keyOf(leaf: Buffer) {
  const read = readCertificate(leaf);
  if (!read.ok) return undefined;
  const key = createPublicKey({ key: read.value.publicKey, format: "der", type: "spki" });
  return isUsableKey(key) ? key : undefined;
}
