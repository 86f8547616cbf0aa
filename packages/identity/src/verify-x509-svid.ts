// SPDX-License-Identifier: Apache-2.0
/** Does this chain prove this SPIFFE ID, now, by the bundle of its own trust domain? (X509-SVID §5, RFC 5280 §6) */
import { ok, refuse, type Result } from "./result.ts";
import { type CertificateFacts, KEY_USAGE, readCertificate } from "./read-certificate.ts";
import { parseSpiffeId, type SpiffeId } from "./spiffe-id.ts";
import type { TrustBundle } from "./trust-bundle.ts";
import { isSignedBy, readPublicKey } from "./verify-signature.ts";

export type X509SvidRefusal =
  | "chain_empty"
  | "chain_too_long"
  | "certificate_malformed"
  | "leaf_is_authority"
  | "leaf_usage_wrong"
  | "leaf_purpose_wrong"
  | "leaf_names_wrong"
  | "spiffe_id_malformed"
  | "spiffe_id_without_path"
  | "critical_extension_unknown"
  | "trust_domain_unknown"
  | "expired"
  | "not_yet_valid"
  | "key_refused"
  | "authority_not_one"
  | "not_signed_by_trust_domain";

export interface VerifiedX509Svid {
  readonly id: SpiffeId;
  /** Earliest end of a certificate on the path, milliseconds since 1970. */
  readonly expiresAt: number;
  readonly serial: Buffer;
}

/** Certificates of a path, the leaf included; real ones have two or three. */
const MOST_CERTIFICATES = 8;
/** id-kp-serverAuth and id-kp-clientAuth: workloads are both. */
const PURPOSES = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];
/** Signatures that one chain may make us check: names can be chosen so that many authorities fit. */
const MOST_ATTEMPTS = 32;

/**
 * `chain`: DER, the leaf first, each certificate signed by the next. `bundleOf` gives the bundle of a trust domain, where
 * it is believed at all: no other bundle is ever looked at.
 */
export function verifyX509Svid(
  chain: readonly Buffer[],
  bundleOf: (trustDomain: string) => TrustBundle | undefined,
  now: number,
): Result<VerifiedX509Svid, X509SvidRefusal> {
  if (chain.length === 0) return refuse("chain_empty");
  if (chain.length > MOST_CERTIFICATES) return refuse("chain_too_long");
  const certificates: CertificateFacts[] = [];
  for (const der of chain) {
    const certificate = readCertificate(der);
    if (!certificate.ok) return refuse("certificate_malformed");
    certificates.push(certificate.value);
  }
  const [leaf] = certificates as [CertificateFacts];
  const id = readLeaf(leaf);
  if (!id.ok) return id;
  const bundle = bundleOf(id.value.trustDomain);
  if (bundle === undefined) return refuse("trust_domain_unknown");
  const expiresAt = pathTo(bundle, certificates, now);
  return expiresAt.ok ? ok({ id: id.value, expiresAt: expiresAt.value, serial: leaf.serial }) : expiresAt;
}

/** X509-SVID §5.2: what makes a certificate one that may name a workload. */
function readLeaf(leaf: CertificateFacts): Result<SpiffeId, X509SvidRefusal> {
  if (leaf.isAuthority) return refuse("leaf_is_authority");
  const { keyUsage, alternativeNames, extendedKeyUsage } = leaf;
  if (keyUsage === undefined || !keyUsage.isCritical || !keyUsage.bits.has(KEY_USAGE.digitalSignature))
    return refuse("leaf_usage_wrong");
  if (keyUsage.bits.has(KEY_USAGE.keyCertSign) || keyUsage.bits.has(KEY_USAGE.cRLSign))
    return refuse("leaf_usage_wrong");
  const [uri, ...more] = alternativeNames?.uris ?? [];
  if (uri === undefined || more.length > 0) return refuse("leaf_names_wrong");
  // RFC 5280 §4.1.2.6: without a subject, the other names are all there is.
  if (leaf.isSubjectEmpty && alternativeNames?.isCritical !== true) return refuse("leaf_names_wrong");
  // X509-SVID §4.3, and RFC 5280 §4.2.1.12: where purposes are named, it is good for no other.
  if (extendedKeyUsage !== undefined && !PURPOSES.every((each) => extendedKeyUsage.includes(each)))
    return refuse("leaf_purpose_wrong");
  const id = parseSpiffeId(uri);
  if (!id.ok) return refuse("spiffe_id_malformed");
  return id.value.path === "" ? refuse("spiffe_id_without_path") : ok(id.value);
}

/** Goes up the chain until an authority of the bundle has signed; gives the earliest end on the way. */
function pathTo(
  bundle: TrustBundle,
  certificates: readonly CertificateFacts[],
  now: number,
): Result<number, X509SvidRefusal> {
  let expiresAt = Infinity;
  let attempts = 0;
  for (const [depth, certificate] of certificates.entries()) {
    const problem =
      depth === 0 ? timeProblem(certificate, now) : authorityProblem(certificate, depth, bundle, now);
    if (problem !== undefined) return refuse(problem);
    if (certificate.unknownCritical.length > 0) return refuse("critical_extension_unknown");
    if (readPublicKey(certificate.publicKey) === undefined) return refuse("key_refused");
    expiresAt = Math.min(expiresAt, certificate.notAfter);
    const named = bundle.x509Authorities.filter(({ subject }) => subject.equals(certificate.issuer));
    for (const authority of named) {
      if (++attempts > MOST_ATTEMPTS) return refuse("not_signed_by_trust_domain");
      const key = readPublicKey(authority.publicKey);
      if (key === undefined || !isSignedBy(certificate, key)) continue;
      const wrong = authorityProblem(authority, depth + 1, bundle, now);
      if (wrong !== undefined) return refuse(wrong);
      return ok(Math.min(expiresAt, authority.notAfter));
    }
    const issuer = certificates[depth + 1];
    const key = issuer === undefined ? undefined : readPublicKey(issuer.publicKey);
    if (issuer === undefined || !issuer.subject.equals(certificate.issuer))
      return refuse("not_signed_by_trust_domain");
    if (key === undefined || ++attempts > MOST_ATTEMPTS || !isSignedBy(certificate, key))
      return refuse("not_signed_by_trust_domain");
  }
  return refuse("not_signed_by_trust_domain");
}

function timeProblem({ notBefore, notAfter }: CertificateFacts, now: number): X509SvidRefusal | undefined {
  if (now < notBefore) return "not_yet_valid";
  // The last second counts (RFC 5280 §4.1.2.5), and certificates know no smaller unit.
  return now >= notAfter + 1000 ? "expired" : undefined;
}

/** X509-SVID §4.1, §5.1. `depth`: certificates below it; all of them but the leaf count for the path length. */
function authorityProblem(
  certificate: CertificateFacts,
  depth: number,
  bundle: TrustBundle,
  now: number,
): X509SvidRefusal | undefined {
  const { isAuthority, keyUsage, pathLength, alternativeNames, unknownCritical } = certificate;
  if (!isAuthority || keyUsage?.bits.has(KEY_USAGE.keyCertSign) !== true) return "authority_not_one";
  if (pathLength !== undefined && depth - 1 > pathLength) return "authority_not_one";
  if (unknownCritical.length > 0) return "critical_extension_unknown";
  for (const uri of alternativeNames?.uris ?? []) {
    const id = parseSpiffeId(uri);
    // §4.1: an authority may name its trust domain, never a workload and never another trust domain.
    if (!id.ok || id.value.path !== "" || id.value.trustDomain !== bundle.trustDomain)
      return "authority_not_one";
  }
  return timeProblem(certificate, now);
}
