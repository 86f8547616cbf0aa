// SPDX-License-Identifier: Apache-2.0
/** What do the checks need to know of a profile? The gateway's profile loader provides it. */
import type { Injection, ResourceOf } from "@postern/contract";

export interface OperationFacts {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  /** Whether a request of this operation names a model. */
  readonly hasModel: boolean;
}

export interface ProfileFacts {
  readonly name: string;
  /** Empty where the server workload must name them, as for `http`. */
  readonly hosts: readonly string[];
  readonly operations: readonly OperationFacts[];
  /** Absent where the server workload must give it, as for `http`. */
  readonly injection?: Injection;
}

/** Operations of the profile and of the server workload itself, by name. */
export function offeredOperations(
  { spec }: ResourceOf<"ServerWorkload">,
  profile: ProfileFacts,
): ReadonlyMap<string, OperationFacts> {
  const own = (spec.operations ?? []).map((operation) => ({
    ...operation,
    hasModel: operation.path.includes("{model}"),
  }));
  return new Map([...profile.operations, ...own].map((operation) => [operation.name, operation]));
}
