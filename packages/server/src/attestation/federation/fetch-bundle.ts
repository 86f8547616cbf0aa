// SPDX-License-Identifier: Apache-2.0
/** What does a bundle endpoint say now? By the certificate of the Web, or by the SPIFFE ID that it must have (SPIFFE Federation §5.2). */
import type { ResourceOf } from "@postern/contract";
import { parseTrustBundle, type TrustBundle } from "@postern/identity/trust-bundle";
import { verifyX509Svid } from "@postern/identity/verify-x509-svid";
import { refuse, type Result } from "../../kernel/result.ts";
import { callHttps } from "../authority/call-https.ts";

type Spec = ResourceOf<"FederatedTrustDomain">["spec"];

export async function fetchBundle(
  spec: Spec,
  bundleOf: (trustDomain: string) => TrustBundle | undefined,
  { now, signal }: { now(): number; readonly signal: AbortSignal },
): Promise<Result<TrustBundle, string>> {
  const { endpointSpiffeId, endpointUrl, profile, trustDomain } = spec;
  const verifyPeer = (chain: readonly Buffer[]): boolean => {
    const verified = verifyX509Svid(chain, bundleOf, now());
    // §5.2.2: this ID and no other, whatever else its trust domain has signed.
    return verified.ok && verified.value.id.uri === endpointSpiffeId;
  };
  const answer = await callHttps(
    { url: new URL(endpointUrl), method: "GET" },
    profile === "https_spiffe" ? { ...spec, verifyPeer } : spec,
    signal,
  );
  if (!answer.ok) return answer;
  if (answer.value.status !== 200) return refuse(`authority_status_${answer.value.status}`);
  const parsed = parseTrustBundle(trustDomain, answer.value.body);
  return parsed.ok ? parsed : refuse("trust_bundle_malformed");
}
