// SPDX-License-Identifier: Apache-2.0
/** How the connection to the SQLite file is set up, and that the file is sound. */
import { DatabaseSync } from "node:sqlite";
import { requireSound } from "./storage-fault.ts";

export function openDatabase(file: string): DatabaseSync {
  const database = new DatabaseSync(file, {
    timeout: 5000,
    enableForeignKeyConstraints: true,
    enableDoubleQuotedStringLiterals: false,
    defensive: true,
  });
  try {
    requireSound(database.prepare("pragma quick_check(1)").all(), file);
    database.exec(`
      pragma journal_mode = wal;
      pragma synchronous = full;
      pragma secure_delete = on;
      pragma trusted_schema = off;
      pragma temp_store = memory;
    `);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}
