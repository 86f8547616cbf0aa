// SPDX-License-Identifier: Apache-2.0
/** `GrantStore` in SQL: one statement takes a use. */
import type { Selectable } from "kysely";
import type { Clock } from "../../kernel/clock.ts";
import type { GrantStore, StoredGrant } from "../grant-store.ts";
import { type Database, type Tables } from "./tables.ts";

/** Servers that share a database have clocks that differ by less; a clock that was set back does not. */
const CLOCKS_DIFFER = 60_000;

export const sqlGrantStore = (db: Database, clock: Clock): GrantStore => ({
  async add({ agent, body, expiresAt, id, uses }, most) {
    const now = clock.now();
    return db.transaction().execute(async (tx) => {
      const { active } = await tx
        .selectFrom("grants")
        .select((eb) => eb.fn.countAll<number | string>().as("active"))
        .where("agent", "=", agent)
        .where("state", "=", "active")
        .executeTakeFirstOrThrow();
      if (Number(active) >= most) return false;
      const times = { created_at: now, expires_at: expiresAt, changed_at: now };
      await tx
        .insertInto("grants")
        .values({ id, agent, body, state: "active", uses_left: uses, ...times })
        .execute();
      return true;
    });
  },
  async get(id) {
    const row = await db.selectFrom("grants").selectAll().where("id", "=", id).executeTakeFirst();
    return row && toGrant(row);
  },
  async list(which, most) {
    const all = db.selectFrom("grants").selectAll().orderBy("created_at", "desc").orderBy("id", "desc");
    const wanted = which === "all" ? all : all.where("state", "=", "active");
    return (await wanted.limit(most).execute()).map(toGrant);
  },
  async usable(agent) {
    const rows = await db
      .selectFrom("grants")
      .selectAll()
      .where("agent", "=", agent)
      .where("state", "=", "active")
      .where("expires_at", ">", clock.now())
      .orderBy("expires_at")
      .orderBy("id")
      .execute();
    return rows.map(toGrant);
  },
  async take(id) {
    const now = clock.now();
    const row = await db
      .updateTable("grants")
      .set((eb) => ({
        uses_left: eb("uses_left", "-", 1),
        changed_at: now,
        state: eb.case().when("uses_left", "=", 1).then("used").else("active").end(),
      }))
      .where("id", "=", id)
      .where("state", "=", "active")
      .where("uses_left", ">", 0)
      .where("expires_at", ">", now)
      .where("created_at", "<=", now + CLOCKS_DIFFER)
      .returningAll()
      .executeTakeFirst();
    return row && toGrant(row);
  },
  async revoke(id) {
    const { numUpdatedRows } = await db
      .updateTable("grants")
      .set({ state: "revoked", changed_at: clock.now() })
      .where("id", "=", id)
      .where("state", "=", "active")
      .executeTakeFirstOrThrow();
    return numUpdatedRows === 1n;
  },
  async expire(forgetBefore) {
    await db
      .deleteFrom("grants")
      .where("state", "!=", "active")
      .where("changed_at", "<", forgetBefore)
      .execute();
    const rows = await db
      .updateTable("grants")
      .set({ state: "expired", changed_at: clock.now() })
      .where("state", "=", "active")
      .where("expires_at", "<=", clock.now())
      .returningAll()
      .execute();
    return rows.map(toGrant);
  },
});

/** Whatever is not plainly `active` is over. */
const toGrant = (row: Selectable<Tables["grants"]>): StoredGrant => ({
  ...{ id: row.id, agent: row.agent, body: row.body, usesLeft: row.uses_left },
  state: row.state === "active" || row.state === "used" || row.state === "expired" ? row.state : "revoked",
  ...{ createdAt: row.created_at, expiresAt: row.expires_at },
});
