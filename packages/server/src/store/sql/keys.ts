// SPDX-License-Identifier: Apache-2.0
/** `KeyStore` in SQL. */
import type { Selectable } from "kysely";
import type { Clock } from "../../kernel/clock.ts";
import type { KeyStore, SealedKey } from "../key-store.ts";
import { advanceEpoch, type Announce } from "./epochs.ts";
import { requireMasterKey } from "./sealed-values.ts";
import { compareText, toBuffer } from "./tables.ts";
import type { Database, Tables } from "./tables.ts";

export function sqlKeyStore(db: Database, clock: Clock, announce: Announce): KeyStore {
  const find = (name: string, from = db) =>
    from.selectFrom("sealed_keys").selectAll().where("name", "=", name);
  return {
    async get(name) {
      const row = await find(name).executeTakeFirst();
      return row && toSealedKey(row);
    },
    async putIfAbsent({ name, algorithm, publicKey, sealed, keyId }) {
      return db.transaction().execute(async (transaction) => {
        await advanceEpoch(transaction, "keys");
        await requireMasterKey(transaction, keyId);
        await transaction
          .insertInto("sealed_keys")
          .values({ name, algorithm, public_key: publicKey, sealed, key_id: keyId, created_at: clock.now() })
          .onConflict((conflict) => conflict.column("name").doNothing())
          .execute();
        await announce(transaction, "keys");
        return toSealedKey(await find(name, transaction).executeTakeFirstOrThrow());
      });
    },
    async list() {
      const rows = await db.selectFrom("sealed_keys").selectAll().execute();
      return rows.map(toSealedKey).toSorted((a, b) => compareText(a.name, b.name));
    },
  };
}

const toSealedKey = (row: Selectable<Tables["sealed_keys"]>): SealedKey => ({
  name: row.name,
  algorithm: row.algorithm,
  publicKey: toBuffer(row.public_key),
  sealed: toBuffer(row.sealed),
  keyId: row.key_id,
  createdAt: row.created_at,
});
