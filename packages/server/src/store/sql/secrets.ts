// SPDX-License-Identifier: Apache-2.0
/** `SecretStore` in SQL. */
import type { Selectable } from "kysely";
import type { Clock } from "../../kernel/clock.ts";
import { Fault } from "../../kernel/fault.ts";
import type { SealedSecret, SecretStore, SecretSummary, SecretVersion } from "../secret-store.ts";
import { advanceEpoch, type Announce } from "./epochs.ts";
import { requireMasterKey } from "./sealed-values.ts";
import { compareText, toBuffer } from "./tables.ts";
import type { Database, Tables } from "./tables.ts";

/** `scrubFiles` makes deleted rows leave the engine's files too, as far as the engine can. */
export function sqlSecretStore(
  db: Database,
  clock: Clock,
  { announce, scrubFiles }: { readonly announce: Announce; scrubFiles(): void },
): SecretStore {
  return {
    reserveVersion: (name) => reserveVersion(db, name),
    async put({ name, version, sealed, keyId }) {
      const createdAt = clock.now();
      const row = { name, version, sealed, key_id: keyId, created_at: createdAt };
      await db.transaction().execute(async (transaction) => {
        await advanceEpoch(transaction, "secrets");
        await requireMasterKey(transaction, keyId);
        await insertVersion(transaction, row);
        await announce(transaction, "secrets");
      });
      return { name, version, createdAt };
    },
    async newest(name) {
      const row = await db
        .selectFrom("secret_versions")
        .selectAll()
        .where("name", "=", name)
        .orderBy("version", "desc")
        .limit(1)
        .executeTakeFirst();
      return row && toSealedSecret(row);
    },
    async all() {
      const rows = await db.selectFrom("secret_versions").selectAll().execute();
      return rows.map(toSealedSecret).toSorted(byNameAndVersion);
    },
    list: () => listSecrets(db),
    async delete(name) {
      const deleted = await db.transaction().execute(async (transaction) => {
        await advanceEpoch(transaction, "secrets");
        const result = await transaction
          .deleteFrom("secret_versions")
          .where("name", "=", name)
          .executeTakeFirst();
        await announce(transaction, "secrets");
        return Number(result.numDeletedRows);
      });
      scrubFiles();
      return deleted;
    },
  };
}

async function insertVersion(db: Database, row: Tables["secret_versions"]): Promise<void> {
  const result = await db
    .insertInto("secret_versions")
    .values(row)
    .onConflict((conflict) => conflict.columns(["name", "version"]).doNothing())
    .executeTakeFirst();
  if (result.numInsertedOrUpdatedRows !== 1n) {
    throw new Fault("resource_conflict", `version ${row.version} of secret ${row.name} is there already`);
  }
}

async function reserveVersion(db: Database, name: string): Promise<number> {
  const row = await db
    .insertInto("secret_names")
    .values({ name, last_version: 1 })
    .onConflict((conflict) =>
      conflict
        .column("name")
        .doUpdateSet((eb) => ({ last_version: eb("secret_names.last_version", "+", 1) })),
    )
    .returning("last_version")
    .executeTakeFirstOrThrow();
  return row.last_version;
}

async function listSecrets(db: Database): Promise<readonly SecretSummary[]> {
  const rows = await db.selectFrom("secret_versions").select(["name", "version", "created_at"]).execute();
  const versions = rows
    .map(({ name, version, created_at }) => ({ name, version, createdAt: created_at }))
    .toSorted(byNameAndVersion);
  return [...Map.groupBy(versions, ({ name }) => name)].map(([name, ofName]) => ({
    name,
    newestVersion: ofName.at(-1)!.version,
    versions: ofName,
  }));
}

const byNameAndVersion = (a: SecretVersion, b: SecretVersion): number =>
  compareText(a.name, b.name) || a.version - b.version;

const toSealedSecret = (row: Selectable<Tables["secret_versions"]>): SealedSecret => ({
  name: row.name,
  version: row.version,
  sealed: toBuffer(row.sealed),
  keyId: row.key_id,
  createdAt: row.created_at,
});
