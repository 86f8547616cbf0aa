// SPDX-License-Identifier: Apache-2.0
/** Short ways to say policies in tests and benchmarks. */
import type { ResourceOf } from "@postern/contract";
import { type CompiledPolicies, compilePolicies, type PolicyProblem } from "./compile.ts";

export type Policy = ResourceOf<"AccessPolicy">;

export function policy(name: string, spec: Partial<Policy["spec"]>): Policy {
  return {
    kind: "AccessPolicy",
    metadata: { name },
    spec: { agents: ["a"], serverWorkload: "s", credentialProvider: "key", ...spec },
  };
}

export function compiled(...policies: Policy[]): CompiledPolicies {
  const result = compilePolicies({ all: () => policies });
  if (!result.ok) throw new Error(JSON.stringify(result.reason));
  return result.value;
}

export function problemsOf(...policies: Policy[]): PolicyProblem[] {
  const result = compilePolicies({ all: () => policies });
  return result.ok ? [] : result.reason;
}
