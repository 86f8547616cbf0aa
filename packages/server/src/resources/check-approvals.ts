// SPDX-License-Identifier: Apache-2.0
/** Can what policies want a person's yes for be answered, and by whom exactly? */
import type { ResourceOf } from "@postern/contract";
import type { Finding } from "./places.ts";
import { offeredOperations, type ProfileFacts } from "./profile-facts.ts";
import type { ResourceSet } from "./resource-set.ts";

/** Two persons with one identity would be one who says yes twice. */
export function sharedIdentities(next: ResourceSet): Finding[] {
  const owners = new Map<string, string>();
  return next.all("Approver").flatMap((resource) =>
    resource.spec.identities.flatMap((identity, index) => {
      const owner = owners.get(identity);
      owners.set(identity, owner ?? resource.metadata.name);
      if (owner === undefined) return [];
      const message =
        owner === resource.metadata.name
          ? `\`${identity}\` stands here twice; remove one`
          : `\`${identity}\` already belongs to Approver \`${owner}\`: one person counts once`;
      return [{ resource, path: ["spec", "identities", index], message }];
    }),
  );
}

export function checkApproval(
  resource: ResourceOf<"AccessPolicy">,
  next: ResourceSet,
  profiles: ReadonlyMap<string, ProfileFacts>,
): Finding[] {
  const { approval, serverWorkload } = resource.spec;
  if (approval === undefined) return [];
  const findings: Finding[] = [];
  const different = new Set(approval.approvers).size;
  if (different < approval.approvers.length)
    findings.push({ resource, path: ["spec", "approval", "approvers"], message: "names somebody twice" });
  if (different < approval.needed) {
    const message = `needs ${approval.needed} different persons, and \`approvers\` names ${different}; nobody could ever approve`;
    findings.push({ resource, path: ["spec", "approval", "needed"], message });
  }
  const workload = next.get("ServerWorkload", serverWorkload);
  const profile = workload === undefined ? undefined : profiles.get(workload.spec.profile);
  if (workload === undefined || profile === undefined) return findings;
  const offered = offeredOperations(workload, profile);
  for (const [index, name] of (approval.for?.operations ?? []).entries()) {
    if (offered.has(name)) continue;
    // A name that is never met would let the request pass without asking.
    const message = `ServerWorkload \`${serverWorkload}\` has no operation \`${name}\`, so nobody would ever be asked`;
    findings.push({ resource, path: ["spec", "approval", "for", "operations", index], message });
  }
  return findings;
}
