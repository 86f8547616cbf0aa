// SPDX-License-Identifier: Apache-2.0
/** Opens the embedded store: one SQLite file, durable at every commit, locked to one process. */
import { dirname, resolve } from "node:path";
import { backup, DatabaseSync } from "node:sqlite";
import { Kysely } from "kysely";
import type { Clock } from "../../kernel/clock.ts";
import { migrate } from "../sql/migrate.ts";
import { sqlStore } from "../sql/sql-store.ts";
import type { Tables } from "../sql/tables.ts";
import type { Store } from "../store.ts";
import { prepareDataFolder, preparePrivateFile } from "./data-folder.ts";
import { EmbeddedBudgetLedger } from "./budget-ledger.ts";
import { openDatabase } from "./open-database.ts";
import { nodeSqliteDialect } from "./dialect.ts";
import { lockDataFolder } from "./folder-lock.ts";
import { storageFault } from "./storage-fault.ts";

const WORDS = { bytes: "blob", bigint: "integer", tableOptions: "strict" } as const;

/** The folder of `file` is the data folder. Throws a Fault that names the next step where it cannot be used. */
export async function openStore(options: { readonly file: string; readonly clock: Clock }): Promise<Store> {
  const file = resolve(options.file);
  const folder = dirname(file);
  prepareDataFolder(folder);
  const lock = lockDataFolder(folder);
  let database: DatabaseSync | undefined;
  try {
    preparePrivateFile(file);
    database = openDatabase(file);
    const db = new Kysely<Tables>({ dialect: nodeSqliteDialect(database, file) });
    await migrate(db, WORDS, options.clock);
    const opened = database;
    const budgets = new EmbeddedBudgetLedger(file, options.clock);
    const store = sqlStore(db, options.clock, {
      announce: async () => {},
      // The log still holds the pages as they were before the deletion.
      scrubFiles: () => checkpoint(opened, file),
      async close() {
        await budgets.close();
        await db.destroy();
        lock.release();
      },
    });
    return { ...store, budgets, copyTo: (target) => copyDatabase(file, target) };
  } catch (error) {
    if (database?.isOpen) database.close();
    lock.release();
    throw storageFault(error, file);
  }
}

/** 40 MB: nearly every database in one step. */
const PAGES_AT_ONCE = 10_000;

/**
 * SQLite's own backup, of one moment, while others write. Over a connection of its own and in large steps: on a
 * connection that also writes, a step may fail without a reason (errcode 0), and every change between two steps
 * starts it again.
 */
async function copyDatabase(file: string, target: string): Promise<void> {
  const source = new DatabaseSync(file, { readOnly: true, timeout: 5000 });
  try {
    preparePrivateFile(target);
    await backup(source, target, { rate: PAGES_AT_ONCE });
  } catch (error) {
    throw storageFault(error, file);
  } finally {
    source.close();
  }
}

function checkpoint(database: DatabaseSync, file: string): void {
  try {
    database.exec("pragma wal_checkpoint(truncate)");
  } catch (error) {
    throw storageFault(error, file);
  }
}
