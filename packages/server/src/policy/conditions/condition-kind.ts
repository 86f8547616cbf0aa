// SPDX-License-Identifier: Apache-2.0
/** What does a kind of condition have to be able to do? One file for each kind, joined in `kinds.ts`. */
import type { Instant } from "../../kernel/clock.ts";
import type { ConditionFacts } from "./facts.ts";

/** What came of judging a condition against facts. */
export interface Verdict {
  readonly holds: boolean;
  /** What was seen, and what was wanted, for whoever asks why; goes into the log. */
  readonly words: string;
  /** Nobody could tell. It does not hold then either. */
  readonly isUnknown?: true;
  /** From this instant on it may be otherwise, though no fact changes. */
  readonly validUntil?: Instant;
}

export type Judge = (facts: ConditionFacts) => Verdict | Promise<Verdict>;

/** A reason against a spec, with its place. */
export interface SpecProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export interface ConditionKind<Spec> {
  /**
   * What a verdict depends on, besides the time and the sources: nothing, the caller, or the single request. A verdict
   * is kept for that long.
   */
  readonly scope: "nothing" | "caller" | "request";
  /** JSON pointers of what it reads of the body; bodies are not read where no condition names any. */
  bodyPointers?(spec: Spec): readonly string[];
  /** What is wrong with it in itself: impossible, contradictory, misleading. */
  problems?(spec: Spec): SpecProblem[];
  /** Why both can never hold at once, or undefined where they may. */
  conflict?(a: Spec, b: Spec): string | undefined;
  /** Everything that can be worked out once is worked out here; called for specs without problems. */
  judge(spec: Spec): Judge;
}

/** At most so many characters of words go into answers and the log. */
const MOST_WORDS = 200;

export const met = (words: string, validUntil?: Instant): Verdict => verdict(true, words, validUntil);
export const unmet = (words: string, validUntil?: Instant): Verdict => verdict(false, words, validUntil);
export const unknown = (words: string, validUntil?: Instant): Verdict => ({
  ...verdict(false, words, validUntil),
  isUnknown: true,
});

function verdict(holds: boolean, words: string, validUntil: Instant | undefined): Verdict {
  const short = words.length > MOST_WORDS ? `${words.slice(0, MOST_WORDS).toWellFormed()}…` : words;
  return { holds, words: short, ...(validUntil === undefined ? {} : { validUntil }) };
}
