// SPDX-License-Identifier: Apache-2.0
/** Can a trust provider work as it is written, and can it prove what its agents are matched by? */
import {
  type ResourceOf,
  SELECTOR_NAMES,
  SIGSTORE_SELECTOR_NAMES,
  type SigstoreSpec,
  type TrustProviderSpec,
} from "@postern/contract";
import { parseKeySet } from "@postern/identity/jwt/key-set";
import { parseTrustBundle } from "@postern/identity/trust-bundle";
import { nearestName } from "../kernel/nearest-name.ts";
import { type ReachProblem, reachProblems } from "./check-reach.ts";
import { sigstoreProblems } from "./check-sigstore.ts";
import { hostProblem, resolutionProblem } from "./host-name.ts";
import type { Finding } from "./places.ts";
import type { ResourceSet } from "./resource-set.ts";

type TrustProvider = ResourceOf<"TrustProvider">;

export function checkTrustProvider(resource: TrustProvider, ownTrustDomain: string | undefined): Finding[] {
  const { spec } = resource;
  if (spec.kind === "aws-ec2")
    return Object.entries(spec.certificates).flatMap(([region, caCertificates]) =>
      reachProblems({ caCertificates }).map(([, message]) => ({
        resource,
        path: ["spec", "certificates", region],
        message,
      })),
    );
  if (spec.kind === "docker" || spec.kind === "podman")
    return (spec.sigstore === undefined ? [] : sigstoreProblems(spec.sigstore)).map(([path, message]) => ({
      ...{ resource, message },
      path: ["spec", "sigstore", ...path],
    }));
  if (!("audience" in spec)) return [];
  const problems = [
    ...("issuer" in spec ? hostProblems(spec) : []),
    ...reachProblems(spec),
    ...(spec.kind === "kubernetes" ? kubernetesProblems(spec) : []),
    ...(spec.kind === "spiffe" ? spiffeProblems(spec, ownTrustDomain) : []),
  ];
  return problems.map(([path, message]) => ({ resource, path: ["spec", ...path], message }));
}

function hostProblems({
  connectTo,
  issuer,
}: {
  connectTo?: unknown;
  issuer?: string | undefined;
}): ReachProblem[] {
  if (issuer === undefined) return [];
  const host = new URL(issuer).hostname;
  const problem = hostProblem(host) ?? (connectTo === undefined ? resolutionProblem(host) : undefined);
  return problem === undefined ? [] : [[["issuer"], `the host ${problem}`]];
}

/** Audiences that API servers take; a cluster may have others. */
const API_AUDIENCE = /^(https:\/\/)?kubernetes\.default(\.svc(\.[a-z0-9.-]+)?)?\/?$/;

function kubernetesProblems(spec: Extract<TrustProviderSpec, { kind: "kubernetes" }>): ReachProblem[] {
  const { apiServer, audience, issuer, jwks } = spec;
  const problems: ReachProblem[] = [];
  if (audience === issuer || API_AUDIENCE.test(audience))
    problems.push([
      ["audience"],
      "is the API server's own, so that tokens for Postern would open the cluster too; use a name that only Postern uses",
    ]);
  const keys = jwks === undefined ? undefined : parseKeySet(Buffer.from(jwks));
  if (keys !== undefined && (!keys.ok || keys.value.length === 0))
    problems.push([
      ["jwks"],
      "holds no key set with a usable key; give what `kubectl get --raw /openid/v1/jwks` says",
    ]);
  if (spec.sigstore !== undefined) problems.push(...kubernetesSigstoreProblems(spec.sigstore, apiServer));
  if (apiServer === undefined) return problems;
  const api = reachProblems(apiServer).map(([path, message]): ReachProblem => [
    ["apiServer", ...path],
    message,
  ]);
  return [...problems, ...api];
}

function kubernetesSigstoreProblems(sigstore: SigstoreSpec, apiServer: unknown): ReachProblem[] {
  if (apiServer === undefined)
    return [[["sigstore"], "needs `apiServer`, which tells the images of a pod; add it, or remove this"]];
  return sigstoreProblems(sigstore).map(([path, message]) => [["sigstore", ...path], message]);
}

function spiffeProblems(
  { bundle, bundleUrl, connectTo, trustDomain }: Extract<TrustProviderSpec, { kind: "spiffe" }>,
  ownTrustDomain: string | undefined,
): ReachProblem[] {
  const problems: ReachProblem[] = [];
  if (trustDomain === ownTrustDomain)
    problems.push([
      ["trustDomain"],
      "is Postern's own, whose SVIDs need no trust provider; name somebody else's",
    ]);
  const parsed = bundle === undefined ? undefined : parseTrustBundle(trustDomain, Buffer.from(bundle));
  if (parsed?.ok === false) problems.push([["bundle"], parsed.reason]);
  if (parsed?.ok === true && parsed.value.jwtAuthorities.length === 0)
    problems.push([["bundle"], "holds no key for JWT-SVIDs (`use: jwt-svid`)"]);
  const host = hostProblems({ connectTo, issuer: bundleUrl });
  return [...problems, ...host.map(([, message]): ReachProblem => [["bundleUrl"], message])];
}

/** Facts that only the API server tells. */
const FROM_API_SERVER = /^pod-(label|owner|owner-uid|image|image-digest|image-count)$/;

function provableNames(spec: TrustProviderSpec): string[] {
  const names: readonly string[] = SELECTOR_NAMES[spec.kind];
  if (spec.kind === "oidc") return [...names, ...Object.keys(spec.mapping)];
  if (spec.kind === "kubernetes" && spec.apiServer === undefined)
    return names.filter((name) => !FROM_API_SERVER.test(name));
  return [...names];
}

/** A selector that its trust provider cannot prove would never hold, and nobody would be told. */
export function checkSelectors(resource: ResourceOf<"Agent">, next: ResourceSet): Finding[] {
  const provider = next.get("TrustProvider", resource.spec.trustProvider);
  // What is missing is told where it is missing.
  if (provider === undefined) return [];
  return resource.spec.selectors.flatMap((selector, index) => {
    const message = selectorProblem(selector, provider);
    return message === undefined ? [] : [{ resource, path: ["spec", "selectors", index], message }];
  });
}

/** Why this trust provider cannot prove such a selector, whatever its value; undefined where it can. */
export function selectorProblem(selector: string, { metadata, spec }: TrustProvider): string | undefined {
  const kind = selector.slice(0, selector.indexOf(":"));
  const name = selector.slice(kind.length + 1, selector.indexOf("="));
  const isSigstore = kind === "sigstore" && "sigstore" in spec && spec.sigstore !== undefined;
  if (kind === "sigstore" && ["kubernetes", "docker", "podman"].includes(spec.kind) && !isSigstore)
    return `TrustProvider \`${metadata.name}\` verifies no signatures of images; add \`sigstore\` to it`;
  if (kind !== spec.kind && !isSigstore)
    return `TrustProvider \`${metadata.name}\` is of kind ${spec.kind} and proves nothing about ${kind}; write ${spec.kind}:name=value`;
  const names: readonly string[] = isSigstore ? SIGSTORE_SELECTOR_NAMES : provableNames(spec);
  if (names.includes(name)) return undefined;
  const nearest = nearestName(name, names);
  const hint =
    nearest === undefined ? `there are ${names.join(", ")}` : `did you mean \`${kind}:${nearest}=\`?`;
  return `TrustProvider \`${metadata.name}\` proves no \`${kind}:${name}\`; ${hint}`;
}
