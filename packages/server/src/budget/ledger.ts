// SPDX-License-Identifier: Apache-2.0
/**
 * Who has used how much? The one port that is the same in one process, in PostgreSQL and in Redis.
 *
 * A claim has two parts. What is kept counts as used from the moment of the reservation on, and stays so if the
 * gateway dies: the request had probably left. What is held comes back by itself then.
 */
import type { Instant } from "../kernel/clock.ts";

/** Of one counter, for one request. Whole numbers up to `MOST`. */
export interface Claim {
  /** The counter: budget, unit, window and whose it is. */
  readonly key: string;
  /** How much there is in all. */
  readonly limit: number;
  readonly keep: number;
  readonly hold: number;
  /** When its window ends. The counter is there for two days more, so that late settlements find it. */
  readonly endsAt: Instant;
}

export interface CounterState {
  readonly used: number;
  readonly reserved: number;
}

/** In the order of the claims; of all that were reserved, or as they stood where none was. */
export interface ReserveAnswer {
  readonly isAdmitted: boolean;
  readonly counters: readonly CounterState[];
}

/** What rejects has a `Fault`: the counters cannot be read or written now. */
export interface BudgetLedger {
  /** All of the claims or none, in one step that no other call comes between. Written when it resolves. */
  reserve(id: string, claims: readonly Claim[]): Promise<ReserveAnswer>;
  /** What the request came to, in the order of its claims; once, however often it is said. */
  settle(id: string, charges: readonly number[]): Promise<void>;
  /** As counters stand now; nothing used where there is no such counter. */
  read(keys: readonly string[]): Promise<readonly CounterState[]>;
  close(): Promise<void>;
}

/** Nothing is counted beyond: every number here is exact in JavaScript and in Lua. */
export const MOST = Number.MAX_SAFE_INTEGER;

/** Settlements of a long answer come after its window; and a clock that was wrong for a day loses nothing. */
export const KEPT_AFTER_END = 2 * 86_400_000;
