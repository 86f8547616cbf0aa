// SPDX-License-Identifier: Apache-2.0
/**
 * Do the conditions still hold under which an open stream was allowed?
 *
 * They are judged again when the time comes up to which they were found to hold, and when a fact may have changed;
 * then it is decided again. Nothing is done for what no condition was asked for.
 */
import type { Clock } from "../kernel/clock.ts";
import type { FactSources } from "../policy/conditions/facts.ts";
import type { Judgement } from "../policy/conditions/judge-conditions.ts";
import type { ControlPlane, IdentifiedCaller } from "./ports.ts";
import type { MatchedRequest } from "./stages/4-match-server-workload.ts";
import { judgeNow } from "./stages/4a-judge-conditions.ts";
import { accessRequestOf, decideAccess } from "./stages/5-decide.ts";
import { type Refusal, refusal } from "./stages/refusal.ts";

export interface WatchParts {
  readonly controlPlane: ControlPlane;
  readonly clock: Clock;
  readonly facts: FactSources;
}

export interface Watched {
  readonly caller: IdentifiedCaller;
  readonly matched: MatchedRequest;
  readonly credentialProvider: string;
  /** Under which it was allowed. */
  readonly judgement: Judgement;
}

/** Milliseconds; timers do not follow a clock that is set, so it is looked at now and then. */
const MOST_SLEEP = 15_000;
/** Longer sleeps are whole multiples, with the rest behind them: timers of one length cost less than of many. */
const SLEEP_STEP = 250;

export class ConditionWatch {
  readonly #watched: Watched;
  readonly #parts: WatchParts;
  #judgement: Judgement;
  #lapsed: Refusal | undefined;
  #onLapse: (why: Refusal) => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  #forget = (): void => {};
  #isOver = false;

  constructor(watched: Watched, parts: WatchParts) {
    [this.#watched, this.#parts, this.#judgement] = [watched, parts, watched.judgement];
    if (watched.judgement.results.length === 0) return;
    this.#forget = parts.facts.onChange(() => void this.#reconsider());
    this.#sleep();
  }

  /** What was found last. */
  get judgement(): Judgement {
    return this.#judgement;
  }

  /** Calls `listener` once, when it is allowed no more; at once where it is so already. */
  onLapse(listener: (why: Refusal) => void): void {
    this.#onLapse = listener;
    if (this.#lapsed !== undefined) listener(this.#lapsed);
  }

  end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#forget();
  }

  get #isDue(): boolean {
    const { validUntil, revision } = this.#judgement;
    return this.#parts.clock.now() >= validUntil || this.#parts.facts.revision !== revision;
  }

  #sleep(): void {
    clearTimeout(this.#timer);
    if (this.#isOver) return;
    const left = this.#isDue ? 0 : this.#judgement.validUntil - this.#parts.clock.now();
    if (left === Infinity) return;
    const steps = Math.floor(left / SLEEP_STEP) * SLEEP_STEP;
    this.#timer = setTimeout(() => void this.#reconsider(), Math.min(steps === 0 ? left : steps, MOST_SLEEP));
    this.#timer.unref();
  }

  async #reconsider(): Promise<void> {
    if (this.#isOver) return;
    if (!this.#isDue) return this.#sleep();
    const why = await this.#judgeAgain().catch(() =>
      refusal("access_denied", "the conditions could not be judged again", ["condition_lapsed"]),
    );
    if (this.#isOver) return;
    if (why === undefined) return this.#sleep();
    this.end();
    this.#lapsed = why;
    this.#onLapse(why);
  }

  async #judgeAgain(): Promise<Refusal | undefined> {
    const { caller, matched, credentialProvider } = this.#watched;
    const { snapshot } = this.#parts.controlPlane;
    const conditions = snapshot.conditionsOf(caller.agent, matched.workload.name);
    const before = this.#judgement;
    const judging = judgeNow(conditions, caller, matched, this.#parts);
    const judgement = judging instanceof Promise ? await judging : judging;
    this.#judgement = judgement;
    const allow = decideAccess(accessRequestOf(caller, matched, judgement), snapshot);
    if (!allow.ok) return { ...allow.reason, reasons: lapsedOf(before, judgement, allow.reason) };
    if (allow.value.credentialProvider === credentialProvider) return undefined;
    return refusal("access_denied", "the policies changed while it was open", ["changed_meanwhile"]);
  }
}

/** Which held before and do not now. */
function lapsedOf(before: Judgement, now: Judgement, { reasons = [] }: Refusal): string[] {
  const lapsed = before.holding.filter((name) => !now.holding.includes(name));
  return [...(lapsed.length === 0 ? [] : ["condition_lapsed", ...lapsed.slice(0, 8)]), ...reasons];
}
