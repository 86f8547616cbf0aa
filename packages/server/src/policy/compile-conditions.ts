// SPDX-License-Identifier: Apache-2.0
/** Which conditions are there, and can the policies that name them ever apply? */
import type { ResourceOf } from "@postern/contract";
import { nearestName } from "../kernel/nearest-name.ts";
import { ok, refuse, type Result } from "../kernel/result.ts";
import type { PolicyProblem } from "./compile.ts";
import {
  type CompiledCondition,
  compileCondition,
  conditionConflict,
  conditionProblems,
} from "./conditions/compile-condition.ts";

export interface ConditionsOf {
  /** Name and spec of each: what the digest of a compiled set is made of. */
  readonly specs: readonly unknown[];
  has(name: string): boolean;
  /** Each once, by name; those that are not there are passed over, so they never hold. */
  of(names: readonly string[]): readonly CompiledCondition[];
  nearest(name: string): string | undefined;
}

export function compileConditions(
  resources: readonly ResourceOf<"AccessCondition">[],
): Result<ConditionsOf, PolicyProblem[]> {
  const problems = resources.flatMap((resource) =>
    conditionProblems(resource).map(({ path, message }): PolicyProblem => {
      return { kind: "AccessCondition", name: resource.metadata.name, path: ["spec", ...path], message };
    }),
  );
  if (problems.length > 0) return refuse(problems);
  const byName = new Map(resources.map((resource) => [resource.metadata.name, compileCondition(resource)]));
  return ok({
    specs: [...byName.values()]
      .map(({ name, spec }) => ({ name, spec }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    has: (name) => byName.has(name),
    of: (names) => [...new Set(names)].toSorted().flatMap((name) => byName.get(name) ?? []),
    nearest: (name) => nearestName(name, byName.keys()),
  });
}

/** Conditions that must hold, are asked for, or make a person's yes unnecessary. */
export const conditionsNamedBy = (policy: {
  readonly conditions?: readonly string[];
  readonly asksFor?: readonly string[];
  readonly unless?: readonly string[];
}): readonly string[] => [...(policy.conditions ?? []), ...(policy.asksFor ?? []), ...(policy.unless ?? [])];

/** What is wrong with how an AccessPolicy uses conditions. Names that lead nowhere are told elsewhere, except those in a text. */
export function conditionProblemsOf(
  policies: readonly ResourceOf<"AccessPolicy">[],
  asked: ReadonlyMap<string, readonly string[]>,
  conditions: ConditionsOf,
): PolicyProblem[] {
  return policies.flatMap(({ metadata, spec }) => {
    const { name } = metadata;
    const missing = (asked.get(name) ?? []).filter((each) => !conditions.has(each));
    return [
      ...missing.map((each): PolicyProblem => {
        const nearest = conditions.nearest(each);
        const hint =
          nearest === undefined ? "apply it first, or in the same call" : `did you mean \`${nearest}\`?`;
        const message = `asks for AccessCondition \`${each}\`, which is not there; ${hint}`;
        return { kind: "AccessPolicy", name, path: ["spec", "cedar"], message };
      }),
      ...conflicts(conditions.of(spec.conditions ?? [])).map(({ first, second, why }): PolicyProblem => {
        const message = `\`${first}\` and \`${second}\` never hold at once: ${why}; write two policies, or change one of them`;
        return { kind: "AccessPolicy", name, path: ["spec", "conditions"], message };
      }),
    ];
  });
}

function conflicts(
  conditions: readonly CompiledCondition[],
): { first: string; second: string; why: string }[] {
  return conditions.flatMap((first, index) =>
    conditions.slice(index + 1).flatMap((second) => {
      const why = conditionConflict(first.spec, second.spec);
      return why === undefined ? [] : [{ first: first.name, second: second.name, why }];
    }),
  );
}
