// SPDX-License-Identifier: Apache-2.0
/**
 * `BudgetLedger` of a server that has its store for itself: counters in memory, written behind each turn.
 *
 * Calls decide at once, in the order in which they come. What they changed is written in one transaction at the end of
 * the turn of the event loop, and only then do they resolve: nothing leaves that a killed process would forget. The
 * transaction waits for no disk (`synchronous = normal`), so after a power cut the newest counts may be missing.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import {
  type BudgetLedger,
  type Claim,
  type CounterState,
  KEPT_AFTER_END,
  MOST,
  type ReserveAnswer,
} from "../../budget/ledger.ts";
import type { Clock, Instant } from "../../kernel/clock.ts";
import { isBusy, storageFault } from "./storage-fault.ts";

interface Counter {
  used: number;
  reserved: number;
  readonly endsAt: Instant;
}

interface Waiting {
  resolve(): void;
  reject(error: Error): void;
}

/** Milliseconds between two looks for counters that nobody needs any more. */
const PURGE_EVERY = 60_000;

/** The store's other connection writes for moments only; somebody else's may hold the file for long. */
const BUSY_WAIT = 2;
const MOST_BUSY = 1000;

const NOTHING: CounterState = { used: 0, reserved: 0 };

export class EmbeddedBudgetLedger implements BudgetLedger {
  readonly #file: string;
  readonly #database: DatabaseSync;
  readonly #write: StatementSync;
  readonly #clock: Clock;
  readonly #counters = new Map<string, Counter>();
  readonly #reservations = new Map<string, readonly Claim[]>();
  #changed = new Set<string>();
  #waiting: Waiting[] = [];
  #isPlanned = false;
  #busy = 0;
  #purgedAt = 0;

  /** A connection of its own to the store's file, whose tables are there. */
  constructor(file: string, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
    this.#database = new DatabaseSync(file, {
      timeout: 0,
      enableDoubleQuotedStringLiterals: false,
      defensive: true,
    });
    this.#database.exec("pragma synchronous = normal; pragma trusted_schema = off;");
    this.#write = this.#database.prepare(
      "insert into budget_counters (key, used, ends_at) values (?, ?, ?) on conflict (key) do update set used = excluded.used",
    );
    // What was held when the last process ended has come back with it: only what is used is stored.
    for (const row of this.#database.prepare("select key, used, ends_at from budget_counters").all())
      this.#counters.set(String(row["key"]), {
        ...{ used: Number(row["used"]), reserved: 0, endsAt: Number(row["ends_at"]) },
      });
  }

  async reserve(id: string, claims: readonly Claim[]): Promise<ReserveAnswer> {
    this.#purge();
    if (this.#reservations.has(id)) throw new Error("the same reservation twice");
    if (!claims.every((claim) => this.#admits(claim)))
      return { isAdmitted: false, counters: this.#states(claims.map(({ key }) => key)) };
    for (const { key, keep, hold, endsAt } of claims) {
      const counter = this.#counters.get(key) ?? { used: 0, reserved: 0, endsAt };
      counter.used += keep;
      counter.reserved += hold;
      this.#counters.set(key, counter);
      this.#changed.add(key);
    }
    this.#reservations.set(id, claims);
    const counters = this.#states(claims.map(({ key }) => key));
    try {
      await this.#written();
    } catch (error) {
      this.#apply(
        id,
        claims.map(() => 0),
      );
      throw error;
    }
    return { isAdmitted: true, counters };
  }

  async settle(id: string, charges: readonly number[]): Promise<void> {
    if (!this.#apply(id, charges)) return;
    await this.#written();
  }

  async read(keys: readonly string[]): Promise<readonly CounterState[]> {
    return this.#states(keys);
  }

  async close(): Promise<void> {
    try {
      if (this.#changed.size > 0) this.#flush();
    } finally {
      this.#database.close();
    }
  }

  #admits({ key, limit, keep, hold }: Claim): boolean {
    const { used, reserved } = this.#counters.get(key) ?? NOTHING;
    // Subtracting cannot overflow: none of the numbers is beyond MOST.
    return keep + hold <= limit - used - reserved;
  }

  #states(keys: readonly string[]): CounterState[] {
    return keys.map((key) => {
      const { used, reserved } = this.#counters.get(key) ?? NOTHING;
      return { used, reserved };
    });
  }

  #apply(id: string, charges: readonly number[]): boolean {
    const claims = this.#reservations.get(id);
    if (claims === undefined) return false;
    this.#reservations.delete(id);
    for (const [index, { key, keep, hold }] of claims.entries()) {
      const counter = this.#counters.get(key);
      if (counter === undefined) continue;
      counter.reserved -= hold;
      counter.used = Math.min(MOST, Math.max(0, counter.used - keep + (charges[index] ?? 0)));
      this.#changed.add(key);
    }
    return true;
  }

  #written(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#plan();
    });
  }

  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    if (this.#busy > 0) setTimeout(() => this.#turn(), BUSY_WAIT);
    else setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#isPlanned = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    try {
      this.#flush();
    } catch (error) {
      if (isBusy(error) && ++this.#busy < MOST_BUSY) {
        this.#waiting = [...waiting, ...this.#waiting];
        return this.#plan();
      }
      this.#busy = 0;
      const fault = storageFault(error, this.#file);
      for (const each of waiting) each.reject(fault);
      return;
    }
    this.#busy = 0;
    for (const each of waiting) each.resolve();
  }

  #flush(): void {
    this.#database.exec("begin immediate");
    try {
      for (const key of this.#changed) {
        const counter = this.#counters.get(key);
        if (counter !== undefined) this.#write.run(key, counter.used, counter.endsAt);
      }
      this.#database.exec("commit");
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec("rollback");
      throw error;
    }
    this.#changed = new Set();
  }

  #purge(): void {
    const now = this.#clock.now();
    if (Math.abs(now - this.#purgedAt) < PURGE_EVERY) return;
    this.#purgedAt = now;
    const before = now - KEPT_AFTER_END;
    for (const [key, { endsAt, reserved }] of this.#counters)
      if (endsAt < before && reserved === 0) {
        this.#counters.delete(key);
        this.#changed.delete(key);
      }
    try {
      this.#database.prepare("delete from budget_counters where ends_at < ?").run(before);
    } catch {
      // The next time will do.
    }
  }
}
