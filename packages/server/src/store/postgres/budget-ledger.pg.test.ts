// SPDX-License-Identifier: Apache-2.0
import { hasPostgres, type PostgresServer, startPostgres } from "@postern/testkit";
import { Kysely } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { budgetLedgerContract } from "../../budget/ledger.contract.ts";
import type { BudgetLedger } from "../../budget/ledger.ts";
import { systemClock } from "../../kernel/clock.ts";
import type { Tables } from "../sql/tables.ts";
import { PostgresBudgetLedger } from "./budget-ledger.ts";
import { parseDatabaseUrl } from "./connection-settings.ts";
import { postgresDialect } from "./dialect.ts";
import { openPostgresStore } from "./open-postgres-store.ts";

const LEASE = 600;

describe.skipIf(!hasPostgres())("counters on PostgreSQL", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server.remove());

  async function openedWith(url: string, lease = LEASE) {
    const db = new Kysely<Tables>({ dialect: postgresDialect(parseDatabaseUrl(url)) });
    return { ledger: await PostgresBudgetLedger.open(db, lease), db };
  }

  async function freshDatabase(): Promise<string> {
    const url = await server.createDatabase();
    await (await openPostgresStore({ url, clock: systemClock })).close();
    return url;
  }

  budgetLedgerContract(async () => {
    const url = await freshDatabase();
    const open = new Map<BudgetLedger, Kysely<Tables>>();
    return {
      async open() {
        const { ledger, db } = await openedWith(url);
        open.set(ledger, db);
        return ledger;
      },
      // Without a word: nobody renews its lease any more.
      async kill(ledger) {
        await open.get(ledger)!.destroy();
        open.delete(ledger);
      },
      async remove() {
        for (const db of open.values()) await db.destroy();
      },
    };
  });

  const claim = { key: "k", limit: 200, keep: 1, hold: 0, endsAt: Date.now() + 86_400_000 };

  test("two servers that race for one budget admit exactly as many as there is room for", async () => {
    const url = await freshDatabase();
    const both = await Promise.all([openedWith(url), openedWith(url)]);
    const answers = await Promise.all(
      Array.from({ length: 500 }, (_, n) => both[n % 2]!.ledger.reserve(`r-${n}`, [claim])),
    );
    expect(answers.filter(({ isAdmitted }) => isAdmitted)).toHaveLength(200);
    for (const { ledger, db } of both) {
      await ledger.close();
      await db.destroy();
    }
  });

  test("a server that was only asleep settles what came back meanwhile", async () => {
    const url = await freshDatabase();
    const [asleep, awake] = await Promise.all([openedWith(url, 3_600_000), openedWith(url)]);
    await asleep.ledger.reserve("r", [{ ...claim, hold: 100 }]);
    // As it is seen from outside: its lease is over.
    await server.query(url, "delete from budget_holders");
    await expect
      .poll(() => awake.ledger.read(["k"]), { timeout: 10_000 })
      .toEqual([{ used: 1, reserved: 0 }]);
    await asleep.ledger.settle("r", [60]);
    expect(await awake.ledger.read(["k"])).toEqual([{ used: 60, reserved: 0 }]);
    for (const { ledger, db } of [asleep, awake]) {
      await ledger.close();
      await db.destroy();
    }
  });

  test("what a living server holds does not come back", async () => {
    const url = await freshDatabase();
    const [one, two] = await Promise.all([openedWith(url), openedWith(url)]);
    await one.ledger.reserve("r", [{ ...claim, hold: 100 }]);
    // Three leases long.
    for (let turn = 0; turn < 9; turn++) await new Promise((resolve) => setTimeout(resolve, LEASE / 3));
    expect(await two.ledger.read(["k"])).toEqual([{ used: 1, reserved: 100 }]);
    for (const { ledger, db } of [one, two]) {
      await ledger.close();
      await db.destroy();
    }
  });
});
