// SPDX-License-Identifier: Apache-2.0
/** Opens the store that several servers can share: a database of PostgreSQL. */
import { Kysely, sql } from "kysely";
import type { Clock } from "../../kernel/clock.ts";
import { migrate } from "../sql/migrate.ts";
import { sqlStore } from "../sql/sql-store.ts";
import type { Database, Tables } from "../sql/tables.ts";
import type { Store } from "../store.ts";
import { BUDGET_FUNCTIONS } from "./budget-functions.ts";
import { PostgresBudgetLedger } from "./budget-ledger.ts";
import { CHANNEL, postgresChangeFeed } from "./change-feed.ts";
import { parseDatabaseUrl } from "./connection-settings.ts";
import { postgresDialect } from "./dialect.ts";
import { postgresFault } from "./postgres-fault.ts";

const WORDS = { bytes: "bytea", bigint: "bigint", tableOptions: "" } as const;

/** Any number that nobody else uses for an advisory lock in this database. */
const MIGRATION_LOCK = 7_028_311_942;

/** Throws a Fault that names the next step where the database cannot be used. */
export async function openPostgresStore(options: {
  readonly url: string;
  readonly clock: Clock;
  /** Milliseconds between two looks at the epochs, beside the notices. */
  readonly lookEvery?: number;
}): Promise<Store> {
  const settings = parseDatabaseUrl(options.url);
  const db = new Kysely<Tables>({ dialect: postgresDialect(settings) });
  let budgets: PostgresBudgetLedger;
  try {
    await migrateAlone(db, options.clock);
    budgets = await PostgresBudgetLedger.open(db);
  } catch (error) {
    await db.destroy();
    throw postgresFault(error, settings.shown);
  }
  const store = sqlStore(db, options.clock, {
    async announce(transaction, area) {
      await sql`select pg_notify(${CHANNEL}, ${area})`.execute(transaction);
    },
    // PostgreSQL's files are its own: what was deleted leaves them with its VACUUM and its old log.
    scrubFiles() {},
    async close() {
      await budgets.close();
      await db.destroy();
    },
  });
  return { ...store, budgets, feed: postgresChangeFeed(settings, options.lookEvery) };
}

/** Servers that start at the same time do this one after the other. */
function migrateAlone(db: Kysely<Tables>, clock: Clock): Promise<void> {
  return db.connection().execute(async (connection: Database) => {
    await sql`select pg_advisory_lock(${MIGRATION_LOCK}::bigint)`.execute(connection);
    try {
      await migrate(connection, WORDS, clock);
      for (const definition of BUDGET_FUNCTIONS) await sql.raw(definition).execute(connection);
    } finally {
      await sql`select pg_advisory_unlock(${MIGRATION_LOCK}::bigint)`.execute(connection);
    }
  });
}
