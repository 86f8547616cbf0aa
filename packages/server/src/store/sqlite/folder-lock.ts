// SPDX-License-Identifier: Apache-2.0
/**
 * One server per data folder: two would overwrite each other's caches and audit chain.
 *
 * The lock is SQLite's exclusive lock on an empty database that is held open. The kernel releases it when
 * the process ends in any way, so a lock never outlives its holder and nobody has to remove a stale file.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Fault } from "../../kernel/fault.ts";
import { preparePrivateFile } from "./data-folder.ts";
import { storageFault } from "./storage-fault.ts";

const SQLITE_BUSY = 5;

export interface FolderLock {
  release(): void;
}

/** Never open `lock.db` otherwise in the same process: closing it would drop the lock (POSIX fcntl). */
export function lockDataFolder(folder: string): FolderLock {
  const file = join(folder, "lock.db");
  const pidFile = join(folder, "lock.pid");
  preparePrivateFile(file);
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    // Nothing is ever written here, so the journal need not be a file.
    database.exec("pragma journal_mode = memory; begin exclusive");
    writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 });
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw storageFault(error, file);
    throw new Fault(
      "internal_error",
      `the data folder ${folder} is in use by ${holder(pidFile)}: stop that server, or choose another data folder`,
    );
  }
  return {
    release() {
      if (database.isOpen) database.close();
    },
  };
}

/** The pid is for people only; it plays no part in the lock. */
function holder(pidFile: string): string {
  try {
    const pid = readFileSync(pidFile, "utf8").trim();
    if (/^\d{1,10}$/.test(pid)) return `process ${pid}`;
  } catch {
    // The holder has the lock but has not written its pid yet.
  }
  return "another process";
}
