// SPDX-License-Identifier: Apache-2.0
/** Does a Budget say something that can be counted? */
import type { ResourceOf } from "@postern/contract";
import { nearestName } from "../kernel/nearest-name.ts";
import type { Finding, ResourcePath } from "./places.ts";
import type { ResourceRef, ResourceSet } from "./resource-set.ts";

export function checkBudget(budget: ResourceOf<"Budget">, next: ResourceSet): Finding[] {
  const { appliesTo, timeZone } = budget.spec;
  const findings: Finding[] = [];
  if (!isTimeZone(timeZone))
    findings.push({
      resource: budget,
      path: ["spec", "timeZone"],
      message: `\`${timeZone}\` is no time zone; use a name of the IANA database, such as Europe/Berlin`,
    });
  const owners = next.all("Agent").flatMap(({ spec }) => spec.owner ?? []);
  for (const [index, owner] of (appliesTo.owners ?? []).entries()) {
    if (owners.includes(owner)) continue;
    const nearest = nearestName(owner, owners);
    const hint = nearest === undefined ? "set `spec.owner` of an Agent" : `did you mean \`${nearest}\`?`;
    const path = ["spec", "appliesTo", "owners", index];
    findings.push({ resource: budget, path, message: `no Agent has the owner \`${owner}\`; ${hint}` });
  }
  return findings;
}

/** Offsets such as `+02:00` are refused: they would be wrong for half of the year. */
function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    new Intl.DateTimeFormat("en", { timeZone: name }).format(0);
    return true;
  } catch {
    return false;
  }
}

interface Reference extends ResourceRef {
  readonly path: ResourcePath;
}

const KINDS = { agents: "Agent", serverWorkloads: "ServerWorkload", policies: "AccessPolicy" } as const;

/** What a budget counts must exist: a misspelt name would count nothing. */
export function budgetReferences({ spec }: ResourceOf<"Budget">): Reference[] {
  return (["agents", "serverWorkloads", "policies"] as const).flatMap((field) =>
    (spec.appliesTo[field] ?? []).map((name, index) => ({
      kind: KINDS[field],
      name,
      path: ["spec", "appliesTo", field, index],
    })),
  );
}

export const priceListReferences = ({ spec }: ResourceOf<"PriceList">): Reference[] =>
  spec.serverWorkloads.map((name, index) => ({
    ...{ kind: "ServerWorkload", name },
    path: ["spec", "serverWorkloads", index],
  }));

/** Of two prices for one model nobody could say which is right. */
export function checkPriceLists(next: ResourceSet): Finding[] {
  const owners = new Map<string, string>();
  return next.all("PriceList").flatMap((resource) =>
    resource.spec.models.flatMap(({ names }, index) =>
      names.flatMap((model, place) =>
        resource.spec.serverWorkloads.flatMap((workload): Finding[] => {
          const key = JSON.stringify([workload, model]);
          const owner = owners.get(key);
          owners.set(key, owner ?? resource.metadata.name);
          if (owner === undefined) return [];
          const message = `PriceList \`${owner}\` has a price for \`${model}\` at ServerWorkload \`${workload}\` already; take one of them away`;
          return [{ resource, path: ["spec", "models", index, "names", place], message }];
        }),
      ),
    ),
  );
}
