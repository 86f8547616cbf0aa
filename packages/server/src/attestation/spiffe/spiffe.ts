// SPDX-License-Identifier: Apache-2.0
/**
 * A JWT-SVID of another trust domain, such as SPIRE's: by its own bundle, and by no other.
 *
 * Of the claims of somebody else's trust domain only the SPIFFE ID is a fact.
 */
import type { ResourceOf } from "@postern/contract";
import { verifyJwtSvid } from "@postern/identity/jwt-svid";
import type { VerificationKey } from "@postern/identity/jwt/key-set";
import { parseJwt } from "@postern/identity/jwt/verify-jwt";
import { parseTrustBundle } from "@postern/identity/trust-bundle";
import type { Clock } from "../../kernel/clock.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { callHttps } from "../authority/call-https.ts";
import { IssuerKeys, type ReadKeys } from "../authority/issuer-keys.ts";
import { meets } from "../token/read-claims.ts";
import type { AttestRefusal, TrustProvider } from "../trust-provider.ts";

type Spec = Extract<ResourceOf<"TrustProvider">["spec"], { kind: "spiffe" }>;

/** Seconds; a JWT-SVID need not say when it was made. */
const LONGEST_LIFE = 3600;

const refused = (reason: string): { ok: false; reason: AttestRefusal } =>
  refuse({ outcome: "refused", reason });

export function spiffe(spec: Spec, clock: Clock): TrustProvider {
  const { audience, conditions = [], maxTokenLifetime = LONGEST_LIFE, trustDomain } = spec;
  const keys = new IssuerKeys(bundleKeys(spec), clock);
  return {
    async attest({ bytes }, { now }) {
      const text = bytes.toString("latin1").replace(/\r?\n$/, "");
      const parsed = parseJwt(Buffer.from(text, "latin1"));
      if (!parsed.ok) return refused(parsed.reason);
      // Of nobody else's trust domain a key is asked for.
      if (!String(parsed.value.claims["sub"]).startsWith(`spiffe://${trustDomain}/`))
        return refused("trust_domain_wrong");
      const known = await keys.keysFor(parsed.value.keyId);
      if (!known.ok) return refuse({ outcome: "unavailable", reason: known.reason });
      const bundle = {
        trustDomain,
        x509Authorities: [],
        jwtAuthorities: known.value.map(({ id = "", key }) => ({ id, key })),
      };
      const bundleOf = (name: string) => (name === trustDomain ? bundle : undefined);
      const verified = verifyJwtSvid(text, audience, bundleOf, now);
      if (!verified.ok) return refused(verified.reason);
      const { claims, expiresAt, id } = verified.value;
      // Another party that may use the token could use it here.
      if ([claims["aud"]].flat().length !== 1) return refused("audience_wrong");
      if (expiresAt - now > maxTokenLifetime * 1000) return refused("token_lives_too_long");
      if (!conditions.every((condition) => meets(claims, condition))) return refused("condition_not_met");
      return ok({ facts: { id: id.uri, "trust-domain": trustDomain }, expiresAt });
    },
  };
}

function bundleKeys({ bundle, bundleUrl, trustDomain, ...reach }: Spec): ReadKeys {
  const keysOf = (document: Buffer): Result<readonly VerificationKey[], string> => {
    const parsed = parseTrustBundle(trustDomain, document);
    if (!parsed.ok) return refuse("trust_bundle_malformed");
    return ok(parsed.value.jwtAuthorities.map(({ id, key }) => ({ id, key, algorithm: undefined })));
  };
  if (bundleUrl === undefined) return async () => keysOf(Buffer.from(bundle ?? ""));
  return async (signal) => {
    const answer = await callHttps({ url: new URL(bundleUrl), method: "GET" }, reach, signal);
    if (!answer.ok) return answer;
    const { body, status } = answer.value;
    return status === 200 ? keysOf(body) : refuse(`authority_status_${status}`);
  };
}
