// SPDX-License-Identifier: Apache-2.0
/** `BudgetLedger` of several servers on one database: each call is one function in it. */
import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import type { BudgetLedger, Claim, CounterState, ReserveAnswer } from "../../budget/ledger.ts";
import { SettleLater } from "../settle-later.ts";
import type { Database } from "../sql/tables.ts";

/** Milliseconds after which nobody believes any more that this server lives. */
export const LEASE = 30_000;

interface Row {
  readonly used_now: number;
  readonly reserved_now: number;
  readonly is_admitted: boolean;
}

export class PostgresBudgetLedger implements BudgetLedger {
  readonly #db: Database;
  readonly #holder = randomUUID();
  readonly #later: SettleLater;
  readonly #renewing: NodeJS.Timeout;

  private constructor(db: Database, lease: number) {
    this.#db = db;
    this.#later = new SettleLater(async (id, charges) => {
      await sql`select postern_budget_settle_v1(${id}, ${[...charges]}::bigint[])`.execute(db);
    });
    // A turn that fails is made up for by the next one, twice, before the lease is over.
    this.#renewing = setInterval(() => void this.#renew(lease).catch(() => {}), lease / 3);
    this.#renewing.unref();
  }

  static async open(db: Database, lease = LEASE): Promise<PostgresBudgetLedger> {
    const ledger = new PostgresBudgetLedger(db, lease);
    try {
      await ledger.#renew(lease);
      return ledger;
    } catch (error) {
      clearInterval(ledger.#renewing);
      throw error;
    }
  }

  async reserve(id: string, claims: readonly Claim[]): Promise<ReserveAnswer> {
    const of = (pick: (claim: Claim) => number | string) => claims.map(pick);
    try {
      const { rows } = await sql<Row>`select * from postern_budget_reserve_v1(
        ${id}, ${this.#holder}, ${of(({ key }) => key)}::text[], ${of(({ limit }) => limit)}::bigint[],
        ${of(({ keep }) => keep)}::bigint[], ${of(({ hold }) => hold)}::bigint[],
        ${of(({ endsAt }) => endsAt)}::bigint[])`.execute(this.#db);
      return {
        isAdmitted: rows.length === claims.length && rows.every(({ is_admitted }) => is_admitted),
        counters: rows.map(({ used_now, reserved_now }) => ({ used: used_now, reserved: reserved_now })),
      };
    } catch (error) {
      this.#later.undo(id);
      throw error;
    }
  }

  settle(id: string, charges: readonly number[]): Promise<void> {
    return this.#later.settle(id, charges);
  }

  async read(keys: readonly string[]): Promise<readonly CounterState[]> {
    const rows = await this.#db
      .selectFrom("budget_counters")
      .select(["key", "used", "reserved"])
      .where("key", "in", [...keys, ""])
      .execute();
    const found = new Map(rows.map((row) => [row.key, { used: row.used, reserved: row.reserved }]));
    return keys.map((key) => found.get(key) ?? { used: 0, reserved: 0 });
  }

  /** What is still held comes back at another server's next turn. */
  async close(): Promise<void> {
    clearInterval(this.#renewing);
    this.#later.close();
    try {
      await this.#db.deleteFrom("budget_holders").where("holder", "=", this.#holder).execute();
    } catch {
      // Then it comes back when the lease is over.
    }
  }

  async #renew(lease: number): Promise<void> {
    await sql`select postern_budget_renew_v1(${this.#holder}, ${lease}::bigint)`.execute(this.#db);
  }
}
