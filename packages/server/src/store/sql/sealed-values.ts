// SPDX-License-Identifier: Apache-2.0
/** `SealedValueStore` in SQL. */
import { Fault } from "../../kernel/fault.ts";
import type { SealedValue, SealedValueStore } from "../sealed-value-store.ts";
import { advanceEpoch, type Announce } from "./epochs.ts";
import { type Database, toBuffer } from "./tables.ts";

const MASTER_KEY = "master-key-id";

export function sqlSealedValueStore(
  db: Database,
  { announce, scrubFiles }: { readonly announce: Announce; scrubFiles(): void },
): SealedValueStore {
  return {
    masterKeyId: () => readMasterKeyId(db),
    async claimMasterKey(keyId) {
      await db
        .insertInto("installation")
        .values({ name: MASTER_KEY, value: keyId })
        .onConflict((conflict) => conflict.column("name").doNothing())
        .execute();
      return (await readMasterKeyId(db)) ?? keyId;
    },
    all: () => listSealed(db),
    async replaceAll(from, to, values) {
      try {
        await db.transaction().execute((transaction) => replaceAll(transaction, from, to, values, announce));
      } catch (error) {
        if (error === CHANGED_MEANWHILE) return false;
        throw error;
      }
      scrubFiles();
      return true;
    },
  };
}

/** Thrown to roll back, never seen outside. */
const CHANGED_MEANWHILE = new Error("the sealed values were changed meanwhile");

async function replaceAll(
  db: Database,
  from: string,
  to: string,
  values: readonly SealedValue[],
  announce: Announce,
): Promise<void> {
  // Whoever puts a sealed value waits here, then finds that the master key is another one.
  await advanceEpoch(db, "secrets", 0);
  await advanceEpoch(db, "keys");
  const moved = await db
    .updateTable("installation")
    .set({ value: to })
    .where("name", "=", MASTER_KEY)
    .where("value", "=", from)
    .executeTakeFirst();
  if (moved.numUpdatedRows !== 1n) throw CHANGED_MEANWHILE;
  for (const value of values) {
    if (!(await replaceOne(db, from, value))) throw CHANGED_MEANWHILE;
  }
  const left = (await listSealed(db)).filter(({ keyId }) => keyId !== to);
  if (left.length > 0) throw CHANGED_MEANWHILE;
  await announce(db, "keys");
}

async function replaceOne(db: Database, from: string, value: SealedValue): Promise<boolean> {
  const change = { sealed: value.sealed, key_id: value.keyId };
  const isVersion = value.table === "secret_versions";
  const result = isVersion
    ? await db
        .updateTable("secret_versions")
        .set(change)
        .where("name", "=", value.name)
        .where("version", "=", value.version)
        .where("key_id", "=", from)
        .executeTakeFirst()
    : await db
        .updateTable("sealed_keys")
        .set(change)
        .where("name", "=", value.name)
        .where("key_id", "=", from)
        .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

async function listSealed(db: Database): Promise<readonly SealedValue[]> {
  const versions = await db.selectFrom("secret_versions").selectAll().execute();
  const keys = await db.selectFrom("sealed_keys").selectAll().execute();
  return [
    ...versions.map(({ name, version, sealed, key_id }) => ({
      table: "secret_versions" as const,
      name,
      version,
      sealed: toBuffer(sealed),
      keyId: key_id,
    })),
    ...keys.map(({ name, sealed, key_id }) => ({
      table: "sealed_keys" as const,
      name,
      version: 1,
      sealed: toBuffer(sealed),
      keyId: key_id,
    })),
  ];
}

async function readMasterKeyId(db: Database): Promise<string | undefined> {
  const row = await db
    .selectFrom("installation")
    .select("value")
    .where("name", "=", MASTER_KEY)
    .executeTakeFirst();
  return row?.value;
}

/** In the transaction that puts a sealed value, after its epoch: a rotation cannot come in between. */
export async function requireMasterKey(transaction: Database, keyId: string): Promise<void> {
  const present = await readMasterKeyId(transaction);
  if (present === undefined || present === keyId) return;
  throw new Fault(
    "resource_conflict",
    `the master key was changed meanwhile: it is ${present} now, this was sealed under ${keyId}`,
  );
}
