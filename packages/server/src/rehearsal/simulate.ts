// SPDX-License-Identifier: Apache-2.0
/**
 * Which recorded decisions would another set of policies make differently?
 *
 * Every recorded request is decided again by `decide` itself. What cannot be asked again is counted by its reason and
 * never guessed. Memory is bounded: decisions are counted in groups, and of those there are so many at most.
 */
import type { AccessRequest, Decision, DryRun } from "../policy/access-request.ts";
import { askAgain } from "../policy/ask-again.ts";
import type { CompiledPolicies } from "../policy/compile.ts";
import { decide } from "../policy/decide.ts";
import type { NotReplayable, RecordedDecision } from "../policy/recorded-decision.ts";

/** What happens to a request, as far as policies say. */
export interface Ruling {
  readonly outcome: "allow" | "deny";
  readonly policies: readonly string[];
  readonly credentialProvider?: string;
  readonly reasons?: readonly string[];
}

export type ChangeKind =
  | "newly_allowed"
  | "other_credential"
  | "newly_denied"
  /** By policies in dry-run, if they were enforced: nothing changes yet. */
  | "would_be_allowed"
  | "would_be_denied";

/** Requests that differ in nothing that matters here, and change in the same way. */
export interface ChangeGroup {
  readonly change: ChangeKind;
  readonly agent: string;
  readonly serverWorkload: string;
  readonly method: string;
  /** Absent where the request was no known operation; then `path` is part of what the group is about. */
  readonly operation?: string;
  readonly model?: string;
  /** Of the first of them. */
  readonly path: string;
  readonly before: Ruling;
  readonly after: Ruling;
  readonly count: number;
  readonly firstTime: number;
  readonly lastTime: number;
  /** Ids of the newest few, for `postern why`. */
  readonly examples: readonly string[];
}

export interface Simulation {
  /** Decisions of the period. */
  readonly decisions: number;
  readonly replayed: number;
  readonly unchanged: number;
  readonly changed: Readonly<Record<ChangeKind, number>>;
  /** Newly allowed ones first, then by count. */
  readonly groups: readonly ChangeGroup[];
  /** Changed decisions that belong to none of `groups`, because there are too many of them. */
  readonly ungrouped: number;
  /** Decisions of which nothing is said, by reason. */
  readonly notReplayed: Readonly<Partial<Record<NotReplayable, number>>>;
  /** Recorded decisions that the policies of now already make differently. */
  readonly changedSince: number;
}

const MOST_GROUPS = 2000;
const EXAMPLES = 3;
const ORDER: readonly ChangeKind[] = [
  "newly_allowed",
  "other_credential",
  "newly_denied",
  "would_be_allowed",
  "would_be_denied",
];

/** Compares `after` with the policies of now, or, where those are not known, with what was recorded. */
export class Simulator {
  readonly #after: CompiledPolicies;
  readonly #now: CompiledPolicies | undefined;
  readonly #groups = new Map<string, { -readonly [K in keyof ChangeGroup]: ChangeGroup[K] }>();
  readonly #notReplayed: Partial<Record<NotReplayable, number>> = {};
  readonly #changed: Record<ChangeKind, number> = {
    newly_allowed: 0,
    other_credential: 0,
    newly_denied: 0,
    would_be_allowed: 0,
    would_be_denied: 0,
  };
  #decisions = 0;
  #replayed = 0;
  #unchanged = 0;
  #ungrouped = 0;
  #changedSince = 0;

  constructor(after: CompiledPolicies, now?: CompiledPolicies) {
    this.#after = after;
    this.#now = now;
  }

  add(recorded: RecordedDecision): void {
    this.#decisions++;
    const asked = askAgain(recorded, this.#after);
    const askedNow = this.#now === undefined ? asked : askAgain(recorded, this.#now);
    if (!asked.ok) return this.#leave(asked.reason);
    if (!askedNow.ok) return this.#leave(askedNow.reason);
    this.#replayed++;
    const then = rulingOf(recorded);
    const before = this.#now === undefined ? then : rulingOf(decide(this.#now, askedNow.value));
    if (changeOf(then, before) !== undefined) this.#changedSince++;
    const decision = decide(this.#after, asked.value);
    const after = rulingOf(decision);
    const change = changeOf(before, after);
    if (change === undefined) this.#unchanged++;
    else this.#count(change, recorded, asked.value, before, after);
    if (decision.dryRun === undefined || decision.dryRun.outcome === after.outcome) return;
    const wouldBe = decision.dryRun.outcome === "allow" ? "would_be_allowed" : "would_be_denied";
    this.#count(wouldBe, recorded, asked.value, after, rulingOf(decision.dryRun));
  }

  #leave(reason: NotReplayable): void {
    this.#notReplayed[reason] = (this.#notReplayed[reason] ?? 0) + 1;
  }

  #count(
    change: ChangeKind,
    { id, time }: RecordedDecision,
    request: AccessRequest,
    before: Ruling,
    after: Ruling,
  ): void {
    const { agent, serverWorkload, method, operation, model, path } = request;
    this.#changed[change]++;
    const place = operation ?? `${method} ${path}`;
    const key = JSON.stringify([change, agent, serverWorkload, place, model ?? null, before, after]);
    const known = this.#groups.get(key);
    if (known === undefined && this.#groups.size >= MOST_GROUPS) return void this.#ungrouped++;
    const group = known ?? {
      ...{ change, agent, serverWorkload, method, path, before, after },
      ...(operation === undefined ? {} : { operation }),
      ...(model === undefined ? {} : { model }),
      ...{ count: 0, firstTime: time, lastTime: time, examples: [] },
    };
    group.count++;
    group.firstTime = Math.min(group.firstTime, time);
    group.lastTime = Math.max(group.lastTime, time);
    group.examples = [id, ...group.examples].slice(0, EXAMPLES);
    if (known === undefined) this.#groups.set(key, group);
  }

  result(): Simulation {
    return {
      decisions: this.#decisions,
      replayed: this.#replayed,
      unchanged: this.#unchanged,
      changed: { ...this.#changed },
      groups: [...this.#groups].toSorted(byWeight).map(([, group]) => ({ ...group })),
      ungrouped: this.#ungrouped,
      notReplayed: { ...this.#notReplayed },
      changedSince: this.#changedSince,
    };
  }
}

function byWeight([a, one]: [string, ChangeGroup], [b, two]: [string, ChangeGroup]): number {
  const order = ORDER.indexOf(one.change) - ORDER.indexOf(two.change);
  return order || two.count - one.count || (a < b ? -1 : 1);
}

function rulingOf(decision: Decision | RecordedDecision | DryRun): Ruling {
  const { outcome, policies } = decision;
  const provider = "credentialProvider" in decision ? decision.credentialProvider : undefined;
  const reasons = "reasons" in decision && outcome === "deny" ? decision.reasons : undefined;
  return {
    outcome,
    policies,
    ...(provider === undefined ? {} : { credentialProvider: provider }),
    ...(reasons === undefined ? {} : { reasons }),
  };
}

/** Undefined where the request fares as before: by which policy is no difference to it. */
function changeOf(before: Ruling, after: Ruling): ChangeKind | undefined {
  if (before.outcome !== after.outcome) return after.outcome === "allow" ? "newly_allowed" : "newly_denied";
  return before.credentialProvider === after.credentialProvider ? undefined : "other_credential";
}
