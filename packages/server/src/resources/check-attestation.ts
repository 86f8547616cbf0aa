// SPDX-License-Identifier: Apache-2.0
/** Can a trust provider work as it is written, and can it prove what its agents are matched by? */
import { type ResourceOf, SELECTOR_NAMES } from "@postern/contract";
import { nearestName } from "../kernel/nearest-name.ts";
import { type ReachProblem, reachProblems } from "./check-reach.ts";
import { hostProblem, resolutionProblem } from "./host-name.ts";
import type { Finding } from "./places.ts";
import type { ResourceSet } from "./resource-set.ts";

type TrustProvider = ResourceOf<"TrustProvider">;

export function checkTrustProvider(resource: TrustProvider): Finding[] {
  const { spec } = resource;
  if (spec.kind === "process") return [];
  const problems = [...("issuer" in spec ? hostProblems(spec) : []), ...reachProblems(spec)];
  return problems.map(([path, message]) => ({ resource, path: ["spec", ...path], message }));
}

function hostProblems({ connectTo, issuer }: { connectTo?: unknown; issuer: string }): ReachProblem[] {
  const host = new URL(issuer).hostname;
  const problem = hostProblem(host) ?? (connectTo === undefined ? resolutionProblem(host) : undefined);
  return problem === undefined ? [] : [[["issuer"], `the host ${problem}`]];
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

function selectorProblem(selector: string, { metadata, spec }: TrustProvider): string | undefined {
  const kind = selector.slice(0, selector.indexOf(":"));
  const name = selector.slice(kind.length + 1, selector.indexOf("="));
  if (kind !== spec.kind)
    return `TrustProvider \`${metadata.name}\` is of kind ${spec.kind} and proves nothing about ${kind}; write ${spec.kind}:name=value`;
  const names: readonly string[] = [
    ...SELECTOR_NAMES[spec.kind],
    ...(spec.kind === "oidc" ? Object.keys(spec.mapping) : []),
  ];
  if (names.includes(name)) return undefined;
  const nearest = nearestName(name, names);
  const hint =
    nearest === undefined ? `there are ${names.join(", ")}` : `did you mean \`${kind}:${nearest}=\`?`;
  return `TrustProvider \`${metadata.name}\` proves no \`${kind}:${name}\`; ${hint}`;
}
