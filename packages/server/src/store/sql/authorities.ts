// SPDX-License-Identifier: Apache-2.0
/** `AuthorityStore` in SQL. The epoch row is written first in every change: it is what changes queue on. */
import type { Insertable, Selectable } from "kysely";
import { Fault } from "../../kernel/fault.ts";
import type { AuthorityStore, StoredAuthority } from "../authority-store.ts";
import type { Announce } from "./epochs.ts";
import { compareText, type Database, type Tables, toBuffer } from "./tables.ts";

const AREA = "authorities";
const KINDS: readonly StoredAuthority["kind"][] = ["jwt", "wit", "x509"];
const STATES: readonly StoredAuthority["state"][] = ["prepared", "active", "old", "tainted", "revoked"];

export function sqlAuthorityStore(db: Database, announce: Announce): AuthorityStore {
  return {
    snapshot: (trustDomain) =>
      db
        .transaction()
        .setIsolationLevel("repeatable read")
        .execute(async (transaction) => {
          const { value } = await transaction
            .selectFrom("epochs")
            .select("value")
            .where("name", "=", AREA)
            .executeTakeFirstOrThrow();
          const rows = await transaction
            .selectFrom("authorities")
            .selectAll()
            .where("trust_domain", "=", trustDomain)
            .execute();
          return { epoch: value, authorities: rows.map(toAuthority).toSorted(byKindAndGeneration) };
        }),
    put: (authorities, expectedEpoch) =>
      db.transaction().execute(async (transaction) => {
        const { numUpdatedRows } = await transaction
          .updateTable("epochs")
          .set((eb) => ({ value: eb("value", "+", 1) }))
          .where("name", "=", AREA)
          .where("value", "=", expectedEpoch)
          .executeTakeFirst();
        if (numUpdatedRows !== 1n) return false;
        for (const authority of authorities) await putOne(transaction, authority);
        await announce(transaction, AREA);
        return true;
      }),
  };
}

async function putOne(db: Database, authority: StoredAuthority): Promise<void> {
  const row: Insertable<Tables["authorities"]> = {
    trust_domain: authority.trustDomain,
    kind: authority.kind,
    generation: authority.generation,
    state: authority.state,
    published: authority.published,
    chain: authority.chain ?? null,
    not_before: authority.notBefore,
    not_after: authority.notAfter,
    created_at: authority.createdAt,
    changed_at: authority.changedAt,
  };
  await db
    .insertInto("authorities")
    .values(row)
    .onConflict((conflict) =>
      conflict.columns(["trust_domain", "kind", "generation"]).doUpdateSet((eb) => ({
        state: eb.ref("excluded.state"),
        published: eb.ref("excluded.published"),
        chain: eb.ref("excluded.chain"),
        not_before: eb.ref("excluded.not_before"),
        not_after: eb.ref("excluded.not_after"),
        changed_at: eb.ref("excluded.changed_at"),
      })),
    )
    .execute();
}

function toAuthority(row: Selectable<Tables["authorities"]>): StoredAuthority {
  const state = STATES.find((known) => known === row.state);
  const kind = KINDS.find((known) => known === row.kind);
  if (state === undefined || kind === undefined)
    throw new Fault("internal_error", `authority ${row.kind}-${row.generation} is stored in an unknown form`);
  return {
    trustDomain: row.trust_domain,
    kind,
    generation: row.generation,
    state,
    published: toBuffer(row.published),
    ...(row.chain === null ? {} : { chain: toBuffer(row.chain) }),
    notBefore: row.not_before,
    notAfter: row.not_after,
    createdAt: row.created_at,
    changedAt: row.changed_at,
  };
}

const byKindAndGeneration = (a: StoredAuthority, b: StoredAuthority): number =>
  compareText(a.kind, b.kind) || a.generation - b.generation;
