// SPDX-License-Identifier: Apache-2.0
/** What would a change of policies mean for agents, and can it be meant? */
import type { AccessEffect, Place, Resource } from "@postern/contract";
import { ok, refuse, type Result } from "../kernel/result.ts";
import { accessDiff } from "../policy/access-diff.ts";
import { approvalRulesOf } from "../policy/approval-rules.ts";
import type { CompiledPolicies, PolicyProblem } from "../policy/compile.ts";
import { contradictionsOf } from "../policy/contradictions.ts";
import type { PlaceOf } from "../resources/places.ts";
import type { ResourceSet } from "../resources/resource-set.ts";

export interface Foreseen {
  readonly effects: readonly AccessEffect[];
  /** What is allowed and looks wrong. */
  readonly warnings: readonly Place[];
}

export interface PolicyState {
  readonly policies: CompiledPolicies;
  readonly resources: ResourceSet;
}

/** Refuses policies that contradict themselves. `put`: what is applied now; what is stored already stands. */
export function foresee(
  before: PolicyState,
  after: PolicyState,
  put: readonly Resource[],
  placeOf: PlaceOf,
): Result<Foreseen, Place[]> {
  const named = put.filter(({ kind }) => kind === "AccessPolicy").map(({ metadata }) => metadata.name);
  const { refused, warnings } = contradictionsOf(after.policies, new Set(named));
  const placed = ({ kind, name, path, message }: PolicyProblem): Place => ({
    ...placeOf(after.resources.get(kind, name)!, path),
    message,
  });
  if (refused.length > 0) return refuse(refused.map(placed));
  return ok({ effects: accessDiff(sideOf(before), sideOf(after)), warnings: warnings.map(placed) });
}

const sideOf = ({ policies, resources }: PolicyState) => ({ policies, rules: approvalRulesOf(resources) });
