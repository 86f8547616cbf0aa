// SPDX-License-Identifier: Apache-2.0
/**
 * An SVID of another trust domain, such as SPIRE's: by its own bundle, and by no other. JWT-SVIDs as they are, X.509-SVIDs
 * with a proof that their key is held.
 *
 * Of the claims of somebody else's trust domain only the SPIFFE ID is a fact.
 */
import type { ResourceOf } from "@postern/contract";
import { verifyJwtSvid } from "@postern/identity/jwt-svid";
import type { VerificationKey } from "@postern/identity/jwt/key-set";
import { parseJwt } from "@postern/identity/jwt/verify-jwt";
import { parseTrustBundle, type TrustBundle } from "@postern/identity/trust-bundle";
import { isProof, verifyX509SvidProof } from "@postern/identity/x509-svid-proof";
import type { Clock } from "../../kernel/clock.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { callHttps } from "../authority/call-https.ts";
import { IssuerKeys } from "../authority/issuer-keys.ts";
import { isBoundToKey, meets } from "../token/read-claims.ts";
import type { Attested, AttestRefusal, TrustProvider } from "../trust-provider.ts";

type Spec = Extract<ResourceOf<"TrustProvider">["spec"], { kind: "spiffe" }>;

/** The bundle of a FederatedTrustDomain, by its name; refuses with the reason why there is none. */
export type FederatedBundle = (name: string) => Result<TrustBundle, string>;

/** The bundle as it is now; read again where it does not have this `kid`. */
type BundleNow = (keyId: string | undefined) => Promise<Result<TrustBundle, string>>;

/** Seconds; a JWT-SVID need not say when it was made. */
const LONGEST_LIFE = 3600;

const refused = (reason: string): { ok: false; reason: AttestRefusal } =>
  refuse({ outcome: "refused", reason });

export function spiffe(spec: Spec, clock: Clock, federated: FederatedBundle): TrustProvider {
  const bundleNow = bundleSource(spec, clock, federated);
  return {
    async attest({ bytes }, { now }) {
      const text = bytes.toString("latin1").replace(/\r?\n$/, "");
      return isProof(text) ? attestX509(text, spec, bundleNow, now) : attestJwt(text, spec, bundleNow, now);
    },
  };
}

async function attestX509(
  text: string,
  { audience, conditions = [], trustDomain }: Spec,
  bundleNow: BundleNow,
  now: number,
): Promise<Result<Attested, AttestRefusal>> {
  const bundle = await bundleNow(undefined);
  if (!bundle.ok) return refuse({ outcome: "unavailable", reason: bundle.reason });
  const bundleOf = (name: string) => (name === trustDomain ? bundle.value : undefined);
  const verified = verifyX509SvidProof(text, audience, bundleOf, now);
  if (!verified.ok) return refused(verified.reason);
  // They speak of claims, and a certificate has none.
  if (conditions.length > 0) return refused("condition_not_met");
  const { expiresAt, id, proofId } = verified.value;
  return ok({ facts: { id: id.uri, "trust-domain": trustDomain }, expiresAt, singleUse: proofId });
}

async function attestJwt(
  text: string,
  { audience, conditions = [], maxTokenLifetime = LONGEST_LIFE, trustDomain }: Spec,
  bundleNow: BundleNow,
  now: number,
): Promise<Result<Attested, AttestRefusal>> {
  const parsed = parseJwt(Buffer.from(text, "latin1"));
  if (!parsed.ok) return refused(parsed.reason);
  // Of nobody else's trust domain a key is asked for.
  if (!String(parsed.value.claims["sub"]).startsWith(`spiffe://${trustDomain}/`))
    return refused("trust_domain_wrong");
  const bundle = await bundleNow(parsed.value.keyId);
  if (!bundle.ok) return refuse({ outcome: "unavailable", reason: bundle.reason });
  const bundleOf = (name: string) => (name === trustDomain ? bundle.value : undefined);
  const verified = verifyJwtSvid(text, audience, bundleOf, now);
  if (!verified.ok) return refused(verified.reason);
  const { claims, expiresAt, id } = verified.value;
  if (isBoundToKey(claims)) return refused("token_bound_to_key");
  // Another party that may use the token could use it here.
  if ([claims["aud"]].flat().length !== 1) return refused("audience_wrong");
  if (expiresAt - now > maxTokenLifetime * 1000) return refused("token_lives_too_long");
  if (!conditions.every((condition) => meets(claims, condition))) return refused("condition_not_met");
  return ok({ facts: { id: id.uri, "trust-domain": trustDomain }, expiresAt });
}

function bundleSource(spec: Spec, clock: Clock, federated: FederatedBundle): BundleNow {
  const { bundle, bundleUrl, federatedTrustDomain, trustDomain, ...reach } = spec;
  if (federatedTrustDomain !== undefined) return async () => federated(federatedTrustDomain);
  const parse = (document: Buffer): Result<TrustBundle, string> => {
    const parsed = parseTrustBundle(trustDomain, document);
    return parsed.ok ? parsed : refuse("trust_bundle_malformed");
  };
  if (bundleUrl === undefined) {
    const parsed = parse(Buffer.from(bundle ?? ""));
    return async () => parsed;
  }
  const read = async (signal: AbortSignal): Promise<Result<readonly VerificationKey[], string>> => {
    const answer = await callHttps({ url: new URL(bundleUrl), method: "GET" }, reach, signal);
    if (!answer.ok) return answer;
    const { body, status } = answer.value;
    if (status !== 200) return refuse(`authority_status_${status}`);
    const parsed = parse(body);
    return parsed.ok
      ? ok(parsed.value.jwtAuthorities.map(({ id, key }) => ({ id, key, algorithm: undefined })))
      : parsed;
  };
  const keys = new IssuerKeys(read, clock);
  return async (keyId) => {
    const known = await keys.keysFor(keyId);
    if (!known.ok) return known;
    const jwtAuthorities = known.value.map(({ id = "", key }) => ({ id, key }));
    return ok({ trustDomain, x509Authorities: [], jwtAuthorities });
  };
}
