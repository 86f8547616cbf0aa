// SPDX-License-Identifier: Apache-2.0
/** Short ways to say policies in tests and benchmarks. */
import type { ResourceOf } from "@postern/contract";
import { type CompiledPolicies, compilePolicies, type PolicyProblem, type PolicySource } from "./compile.ts";

export type Policy = ResourceOf<"AccessPolicy">;

export function policy(name: string, spec: Partial<Policy["spec"]>): Policy {
  return {
    kind: "AccessPolicy",
    metadata: { name },
    spec: { agents: ["a"], serverWorkload: "s", credentialProvider: "key", ...spec },
  };
}

export type Condition = ResourceOf<"AccessCondition">;

export const condition = (name: string, spec: Condition["spec"]): Condition => ({
  kind: "AccessCondition",
  metadata: { name },
  spec,
});

export function compiled(...resources: (Policy | Condition)[]): CompiledPolicies {
  const result = compilePolicies(sourceOf(resources));
  if (!result.ok) throw new Error(JSON.stringify(result.reason));
  return result.value;
}

const sourceOf = (resources: readonly (Policy | Condition)[]): PolicySource => ({
  all: <K extends "AccessPolicy" | "AccessCondition">(kind: K) =>
    resources.filter((resource): resource is ResourceOf<K> & (Policy | Condition) => resource.kind === kind),
});

export function problemsOf(...resources: (Policy | Condition)[]): PolicyProblem[] {
  const result = compilePolicies(sourceOf(resources));
  return result.ok ? [] : result.reason;
}
