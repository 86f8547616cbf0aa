// SPDX-License-Identifier: Apache-2.0
/** Which of some conditions hold for a request, and until when is that so? */
import type { Instant } from "../../kernel/clock.ts";
import type { CompiledCondition } from "./compile-condition.ts";
import type { Verdict } from "./condition-kind.ts";
import type { ConditionFacts } from "./facts.ts";

export interface ConditionResult extends Verdict {
  /** Of the AccessCondition. */
  readonly condition: string;
  /** Which spec of it was judged. */
  readonly definition: string;
}

export interface Judgement {
  /** By name. */
  readonly results: readonly ConditionResult[];
  /** Names of those that hold, in order. */
  readonly holding: readonly string[];
  /** Names of those of which nobody could tell, in order. */
  readonly unknown: readonly string[];
  /** Has to be made again from here on, … */
  readonly validUntil: Instant;
  /** … and when the sources have another revision than this. */
  readonly revision: number;
}

export const NOTHING_TO_JUDGE: Judgement = Object.freeze({
  results: [],
  holding: [],
  unknown: [],
  validUntil: Infinity,
  revision: 0,
});

/** `conditions` in the order of their names. At once where no source has to be waited for. */
export function judgeConditions(
  conditions: readonly CompiledCondition[],
  facts: ConditionFacts,
): Judgement | Promise<Judgement> {
  if (conditions.length === 0) return NOTHING_TO_JUDGE;
  const { revision } = facts.sources;
  const verdicts = conditions.map((condition) => condition.judge(facts));
  return verdicts.some((verdict) => verdict instanceof Promise)
    ? Promise.all(verdicts.map((verdict) => Promise.resolve(verdict))).then((all) =>
        judgementOf(conditions, all, revision),
      )
    : judgementOf(conditions, verdicts as Verdict[], revision);
}

function judgementOf(
  conditions: readonly CompiledCondition[],
  verdicts: readonly Verdict[],
  revision: number,
): Judgement {
  const results: ConditionResult[] = [];
  const holding: string[] = [];
  const unknown: string[] = [];
  let validUntil = Infinity;
  for (const [index, verdict] of verdicts.entries()) {
    const { name: condition, definition } = conditions[index]!;
    results.push({ ...verdict, condition, definition });
    if (verdict.holds) holding.push(condition);
    if (verdict.isUnknown === true) unknown.push(condition);
    validUntil = Math.min(validUntil, verdict.validUntil ?? Infinity);
  }
  return { results, holding, unknown, validUntil, revision };
}
