// SPDX-License-Identifier: Apache-2.0
/** Does every SPIFFE ID lead back to one agent, and is it one that this server may issue? */
import type { ResourceOf } from "@postern/contract";
import {
  narrowTemplate,
  parseTemplate,
  type SpiffeIdTemplate,
  templatesOverlap,
} from "@postern/identity/spiffe-id-template";
import { selectorProblem } from "./check-attestation.ts";
import type { Finding } from "./places.ts";
import type { ResourceSet } from "./resource-set.ts";

export function checkSpiffeIds(next: ResourceSet, trustDomain: string | undefined): Finding[] {
  const known: { readonly name: string; readonly template: SpiffeIdTemplate }[] = [];
  return next.all("Agent").flatMap((resource) => {
    const template = templateOf(resource);
    if (template === undefined) return [];
    const find = (message: string): Finding[] => [{ resource, path: ["spec", "spiffeId"], message }];
    if (!template.ok) return find(template.reason);
    if (trustDomain === undefined)
      return find("this server has no trust domain; start it with `postern up --trust-domain NAME`");
    if (template.value.trustDomain !== trustDomain)
      return find(`the trust domain of this server is \`${trustDomain}\`; it can issue in no other one`);
    const unprovable = unprovableFact(resource, template.value, next);
    if (unprovable !== undefined) return find(unprovable);
    const own = narrowTemplate(template.value, resource.spec.selectors);
    const other = known.find((each) => templatesOverlap(each.template, own));
    known.push({ name: resource.metadata.name, template: own });
    return other === undefined
      ? []
      : find(
          `could come to the same SPIFFE ID as Agent \`${other.name}\`; give one of them a segment of its own, or a selector that fixes the value`,
        );
  });
}

/** A fact that its trust provider cannot prove would never be there, and the agent would get no identity. */
function unprovableFact(
  { spec }: ResourceOf<"Agent">,
  { segments }: SpiffeIdTemplate,
  next: ResourceSet,
): string | undefined {
  const provider = next.get("TrustProvider", spec.trustProvider);
  if (provider === undefined) return undefined;
  return segments
    .flatMap(({ selector }) => (selector === undefined ? [] : [selectorProblem(selector, provider)]))
    .find((problem) => problem !== undefined);
}

/** Undefined for an agent without a SPIFFE ID. */
export function templateOf({ spec }: ResourceOf<"Agent">) {
  return spec.spiffeId === undefined ? undefined : parseTemplate(spec.spiffeId);
}
