// SPDX-License-Identifier: Apache-2.0
/** Opens what the server keeps: the data folder, locked to this process; the store in it or on PostgreSQL; the master key. */
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import type { Clock } from "../kernel/clock.ts";
import { Fault } from "../kernel/fault.ts";
import type { Log } from "../kernel/log.ts";
import {
  loadFileMasterKey,
  loadNextKey,
  loadReferencedMasterKey,
  removeDrafts,
} from "../keys/file-master-key.ts";
import { KeyRing } from "../keys/key-ring.ts";
import { resolveReference } from "../keys/reference.ts";
import { holdsPassword } from "../store/postgres/connection-settings.ts";
import { prepareDataFolder } from "../store/sqlite/data-folder.ts";
import { lockDataFolder } from "../store/sqlite/folder-lock.ts";
import { openStore } from "../store/sqlite/open-store.ts";
import type { Store } from "../store/store.ts";
import { writeWhole } from "./write-whole.ts";

export interface Storage {
  readonly store: Store;
  readonly keys: KeyRing;
  /** Name of the key that signs this folder's audit log: logs of several servers must not pass for one. */
  readonly auditKeyName: string;
}

export async function openStorage(config: Config, clock: Clock, log: Log): Promise<Storage> {
  const store = await withBudgets(await openConfigured(config, clock, log), config, log);
  try {
    removeLeftovers(config.dataFolder);
    const keys = await openKeyRing(config, store);
    return { store, keys, auditKeyName: auditKeyName(config.dataFolder, store) };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Beginning of the names of copies that exist while a backup is taken. */
export const BACKUP_COPY = "backup-";

/** What a server left that was killed while it took a backup or made a key. */
function removeLeftovers(dataFolder: string): void {
  removeDrafts(keyFile(dataFolder));
  for (const name of readdirSync(dataFolder))
    if (name.startsWith(BACKUP_COPY) && /\.db(-\w+)?$/.test(name)) rmSync(join(dataFolder, name));
}

export const keyFile = (dataFolder: string): string => join(dataFolder, "master.key");

async function openConfigured(config: Config, clock: Clock, log: Log): Promise<Store> {
  const { dataFolder } = config;
  const given = config.databaseUrl();
  if (given === undefined) return openStore({ file: join(dataFolder, "postern.db"), clock });
  if (config.isDatabaseUrlVisible && holdsPassword(given)) {
    // Overwrites the words of the command line, as far as that still helps.
    process.title = "postern up";
    log.write(
      "warn",
      "the password of the database stood on the command line, where others can read it: use --database-url env:NAME or file:/absolute/path",
    );
  }
  prepareDataFolder(dataFolder);
  const lock = lockDataFolder(dataFolder);
  try {
    // Its driver takes memory that a server without PostgreSQL does without.
    const { openPostgresStore } = await import("../store/postgres/open-postgres-store.ts");
    const store = await openPostgresStore({ url: await urlBehind(given, config), clock });
    return {
      ...store,
      async close() {
        await store.close();
        lock.release();
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** The same store with the counters of budgets in Redis, where there is one. */
async function withBudgets(store: Store, config: Config, log: Log): Promise<Store> {
  const given = config.budgetUrl();
  if (given === undefined) return store;
  if (config.isBudgetUrlVisible && holdsPassword(given)) {
    process.title = "postern up";
    log.write(
      "warn",
      "the password of the budget store stood on the command line, where others can read it: use --budget-url env:NAME or file:/absolute/path",
    );
  }
  try {
    // Its driver takes memory that a server without Redis does without.
    const { openRedisBudgets } = await import("../store/redis/budget-ledger.ts");
    const budgets = await openRedisBudgets(await urlBehind(given, config), log);
    return {
      ...store,
      budgets,
      async close() {
        await budgets.close();
        await store.close();
      },
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function urlBehind(given: string, config: Config): Promise<string> {
  if (!/^(file|env):/.test(given)) return given;
  const secret = await resolveReference(given, { readEnv: config.readEnvironment });
  const url = secret.expose("connect").toString("utf8");
  secret.wipe();
  return url;
}

async function openKeyRing(config: Config, store: Store): Promise<KeyRing> {
  const sealedUnder = await store.sealedUnder();
  const designated = () => store.sealedValues.masterKeyId();
  const path = keyFile(config.dataFolder);
  const isFile = config.masterKey === undefined;
  const key =
    config.masterKey === undefined
      ? await loadFileMasterKey(path, sealedUnder)
      : await loadReferencedMasterKey(config.masterKey, { readEnv: config.readEnvironment }, sealedUnder);
  const claimed = await store.sealedValues.claimMasterKey(key.id);
  if (claimed !== key.id) {
    throw new Fault(
      "internal_error",
      `wrong master key: ${isFile ? path : config.masterKey} holds ${key.id}, the store belongs to ${claimed}: ` +
        "put the right key there; servers that share a database need the same one",
    );
  }
  const ring = new KeyRing(key, designated);
  const next = isFile ? await loadNextKey(path) : undefined;
  if (next !== undefined) ring.accept(next);
  return ring;
}

function auditKeyName(dataFolder: string, store: Store): string {
  if (store.feed === undefined) return "postern-audit";
  const file = join(dataFolder, "server.id");
  if (!existsSync(file)) writeWhole(file, `${randomBytes(6).toString("hex")}\n`, 0o600);
  return `postern-audit-${readFileSync(file, "utf8").trim()}`;
}
