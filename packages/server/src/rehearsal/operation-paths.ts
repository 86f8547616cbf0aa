// SPDX-License-Identifier: Apache-2.0
/** What does it say of a request's path and model that it is this operation? */
import type { OperationFacts } from "../resources/profile-facts.ts";
import type { ResourceSet } from "../resources/resource-set.ts";
import { profileFacts } from "./profile-facts.ts";
import type { Profile } from "../profiles/profile.ts";

/** How narrowly an access policy has to name the path beside the operation, so that it allows nothing else. */
export type PathNeed =
  /** Not at all: the operation has one path, apart from the model. */
  | { readonly kind: "none" }
  /** The operation has several, and this pattern is the one that was used. */
  | { readonly kind: "pattern"; readonly pattern: string }
  /** A part of it is the agent's own choice. */
  | { readonly kind: "exact"; readonly path: string };

export class OperationPaths {
  readonly #byWorkload = new Map<string, readonly OperationFacts[]>();

  constructor(resources: ResourceSet, profiles: ReadonlyMap<string, Profile>) {
    for (const { metadata, spec } of resources.all("ServerWorkload")) {
      const profile = profiles.get(spec.profile);
      const own = (spec.operations ?? []).map((operation) => ({
        ...operation,
        hasModel: operation.path.includes("{model}"),
      }));
      const given = profile === undefined ? [] : profileFacts(profile).operations;
      this.#byWorkload.set(metadata.name, [...own, ...given]);
    }
  }

  /** Whether a request of it can name a model; taken to be so where the operation is not known any more. */
  canHaveModel(serverWorkload: string, operation: string): boolean {
    const templates = this.#templates(serverWorkload, operation);
    return templates.length === 0 || templates.some(({ hasModel }) => hasModel);
  }

  pathNeed(serverWorkload: string, operation: string, path: string): PathNeed {
    const templates = this.#templates(serverWorkload, operation);
    const used = templates.find((template) => matches(template.path, path));
    if (used === undefined || freeParts(used) > 0) return { kind: "exact", path };
    if (templates.length === 1) return { kind: "none" };
    return { kind: "pattern", pattern: used.path.replaceAll(PART, "*") };
  }

  #templates(serverWorkload: string, operation: string): readonly OperationFacts[] {
    return (this.#byWorkload.get(serverWorkload) ?? []).filter(({ name }) => name === operation);
  }
}

const PART = /\{[A-Za-z][A-Za-z0-9_]*\}/g;

/** Parts that neither the operation nor the model says. */
function freeParts({ path, hasModel }: OperationFacts): number {
  const parts = path.match(PART) ?? [];
  return parts.filter((part) => !(hasModel && part === "{model}")).length;
}

/** A part is a run of characters without `/` and `:`, as the gateway has it. */
function matches(template: string, path: string): boolean {
  const source = template
    .split(PART)
    .map((literal) => literal.replaceAll(/[.*+?^$()|[\]\\{}]/g, "\\$&"))
    .join("[^/:]+");
  return new RegExp(`^${source}$`).test(path);
}
