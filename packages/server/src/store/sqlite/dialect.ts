// SPDX-License-Identifier: Apache-2.0
/** Kysely over `node:sqlite`: Kysely's own SQLite dialect, with the few calls it makes of its driver. */
import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { SqliteDialect } from "kysely";
import { storageFault } from "./storage-fault.ts";

/**
 * One connection; Kysely lets one transaction or query at it at a time. Errors of SQLite come out as
 * Faults, so that no caller depends on the engine.
 */
export function nodeSqliteDialect(database: DatabaseSync, file: string): SqliteDialect {
  const guarded = <T>(run: () => T): T => {
    try {
      return run();
    } catch (error) {
      throw storageFault(error, file);
    }
  };
  return new SqliteDialect({
    database: {
      close: () => guarded(() => database.close()),
      prepare(text) {
        const statement = guarded(() => database.prepare(text));
        const bound = (parameters: readonly unknown[]) => parameters as readonly SQLInputValue[];
        return {
          reader: statement.columns().length > 0,
          all: (parameters) => guarded(() => statement.all(...bound(parameters))),
          // After a full disk SQLite has rolled back by itself; failing here would hide why.
          run: (parameters) =>
            text === "rollback" && !database.isTransaction
              ? { changes: 0, lastInsertRowid: 0 }
              : guarded(() => statement.run(...bound(parameters))),
          iterate: (parameters) => guarded(() => statement.iterate(...bound(parameters))),
        };
      },
    },
  });
}
