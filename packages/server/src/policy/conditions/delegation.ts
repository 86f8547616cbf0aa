// SPDX-License-Identifier: Apache-2.0
/** In whose name does the agent act, and through how many hands? Who shows nothing of the kind acts in its own name. */
import type { ConditionSpecOf } from "@postern/contract";
import { type ConditionKind, met, type SpecProblem, unmet } from "./condition-kind.ts";

type Spec = ConditionSpecOf<"delegation">;

export const delegation: ConditionKind<Spec> = {
  scope: "caller",
  problems,
  conflict: (a, b) => {
    const common = a.subjects?.some((subject) => b.subjects?.includes(subject) ?? true) ?? true;
    if (!common) return "they have no subject in common";
    return lowest(a) > highest(b) || lowest(b) > highest(a) ? "they have no depth in common" : undefined;
  },
  judge:
    (spec) =>
    ({ caller }) => {
      const { depth, subject } = caller.delegation ?? { depth: 0, subject: undefined };
      const seen =
        subject === undefined ? "the agent acts in its own name" : `for ${subject}, depth ${depth}`;
      if (depth < lowest(spec)) return unmet(`${seen}; wanted a depth of at least ${lowest(spec)}`);
      if (depth > highest(spec)) return unmet(`${seen}; wanted a depth of at most ${highest(spec)}`);
      const isSubject =
        subject === undefined ? spec.subjects === undefined : spec.subjects?.includes(subject);
      return isSubject === false ? unmet(`${seen}; wanted another one`) : met(seen);
    },
};

const lowest = ({ minDepth = 0 }: Spec): number => minDepth;
const highest = ({ maxDepth = Infinity }: Spec): number => maxDepth;

function problems(spec: Spec): SpecProblem[] {
  if (lowest(spec) > highest(spec))
    return [{ path: ["maxDepth"], message: `is less than \`minDepth\` (${lowest(spec)}); swap them` }];
  if (Object.keys(spec).length === 2 && spec.minDepth === 0)
    return [{ path: ["minDepth"], message: "0 is always so; say a `maxDepth`, or remove the condition" }];
  return [];
}
