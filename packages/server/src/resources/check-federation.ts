// SPDX-License-Identifier: Apache-2.0
/** Can a foreign trust domain be followed as it is written, and is it nobody else's name? */
import type { ResourceOf } from "@postern/contract";
import { parseSpiffeId } from "@postern/identity/spiffe-id";
import { parseTrustBundle, strangerIn } from "@postern/identity/trust-bundle";
import { reachProblems } from "./check-reach.ts";
import { hostProblem, resolutionProblem } from "./host-name.ts";
import type { Finding } from "./places.ts";
import type { ResourceSet } from "./resource-set.ts";

type Federated = ResourceOf<"FederatedTrustDomain">;
type Problem = readonly [path: readonly (string | number)[], message: string];

export function checkFederation(next: ResourceSet, ownTrustDomain: string | undefined): Finding[] {
  const owners = new Map<string, string>();
  const domains = next.all("FederatedTrustDomain").flatMap((resource) => {
    const { trustDomain } = resource.spec;
    const owner = owners.get(trustDomain);
    owners.set(trustDomain, owner ?? resource.metadata.name);
    const problems: Problem[] = [...problemsOf(resource, ownTrustDomain)];
    if (owner !== undefined)
      problems.push([
        ["trustDomain"],
        `is that of FederatedTrustDomain \`${owner}\`, and bundles are never merged; delete one of them`,
      ]);
    return problems.map(([path, message]) => ({ resource, path: ["spec", ...path], message }));
  });
  return [...domains, ...otherDomains(next)];
}

function problemsOf({ spec }: Federated, ownTrustDomain: string | undefined): Problem[] {
  const { bundle, connectTo, endpointSpiffeId, endpointUrl, profile, trustDomain } = spec;
  const problems: Problem[] = [...reachProblems(spec)];
  if (trustDomain === ownTrustDomain)
    problems.push([["trustDomain"], "is Postern's own, whose authorities are here; name somebody else's"]);
  const host = new URL(endpointUrl).hostname;
  const wrong = hostProblem(host) ?? (connectTo === undefined ? resolutionProblem(host) : undefined);
  if (wrong !== undefined) problems.push([["endpointUrl"], `the host ${wrong}`]);
  const id = endpointSpiffeId === undefined ? undefined : parseSpiffeId(endpointSpiffeId);
  if (id?.ok === false) problems.push([["endpointSpiffeId"], id.reason]);
  // Federation §5.2.2: the first fetch is verified by a bundle that is known already.
  if (
    profile === "https_spiffe" &&
    id?.ok === true &&
    id.value.trustDomain === trustDomain &&
    bundle === undefined
  )
    problems.push([["bundle"], "is needed with profile https_spiffe: by it the first answer is verified"]);
  const parsed = bundle === undefined ? undefined : parseTrustBundle(trustDomain, Buffer.from(bundle));
  if (parsed?.ok === false) problems.push([["bundle"], parsed.reason]);
  const stranger = parsed?.ok === true ? strangerIn(parsed.value) : undefined;
  if (stranger !== undefined)
    problems.push([["bundle"], `holds an authority of ${stranger}; give the bundle of ${trustDomain}`]);
  return problems;
}

/** A trust provider that names one trust domain and takes the bundle of another would believe the wrong people. */
function otherDomains(next: ResourceSet): Finding[] {
  return next.all("TrustProvider").flatMap((resource) => {
    const { spec } = resource;
    if (spec.kind !== "spiffe" || spec.federatedTrustDomain === undefined) return [];
    const found = next.get("FederatedTrustDomain", spec.federatedTrustDomain);
    if (found === undefined || found.spec.trustDomain === spec.trustDomain) return [];
    const message = `FederatedTrustDomain \`${found.metadata.name}\` is of ${found.spec.trustDomain}, not of ${spec.trustDomain}`;
    return [{ resource, path: ["spec", "federatedTrustDomain"], message }];
  });
}
