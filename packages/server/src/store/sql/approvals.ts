// SPDX-License-Identifier: Apache-2.0
/** `ApprovalStore` in SQL: one statement takes a use, a unique index keeps two of the same from being alive. */
import type { Selectable } from "kysely";
import type { Clock } from "../../kernel/clock.ts";
import type {
  ApprovalState,
  ApprovalStore,
  AskLimits,
  NewApproval,
  StoredApproval,
} from "../approval-store.ts";
import { type Database, type Tables, toBuffer } from "./tables.ts";

/** Those that the index `approvals_alive` speaks of. */
const ALIVE = ["pending", "approved", "denied"] as const;
const ENDED: readonly ApprovalState[] = ["used", "expired", "displaced", "withdrawn"];
/** Servers that share a database have clocks that differ by less; a clock that was set back does not. */
const CLOCKS_DIFFER = 60_000;
const NOTHING = Buffer.alloc(0);

export const sqlApprovalStore = (db: Database, clock: Clock): ApprovalStore => ({
  ask: (approval, most) => db.transaction().execute((tx) => ask(tx, clock, approval, most)),
  async get(id) {
    const row = await db.selectFrom("approvals").selectAll().where("id", "=", id).executeTakeFirst();
    return row && toApproval(row);
  },
  async list(which, most) {
    const all = db.selectFrom("approvals").selectAll().orderBy("created_at", "desc").orderBy("id", "desc");
    const wanted = which === "all" ? all : all.where("state", "=", "pending");
    return (await wanted.limit(most).execute()).map(toApproval);
  },
  async change(id, version, { state, votes, usesLeft, expiresAt }) {
    const { numUpdatedRows } = await db
      .updateTable("approvals")
      .set({
        ...{ state, votes, uses_left: usesLeft, expires_at: expiresAt, changed_at: clock.now() },
        version: version + 1,
        // What nobody will be asked about or send any more is not kept.
        ...(ENDED.includes(state) || state === "denied" ? { sealed: NOTHING } : {}),
      })
      .where("id", "=", id)
      .where("version", "=", version)
      .executeTakeFirstOrThrow();
    return numUpdatedRows === 1n;
  },
  async release(lookup) {
    const now = clock.now();
    const row = await db
      .updateTable("approvals")
      .set((eb) => ({
        uses_left: eb("uses_left", "-", 1),
        version: eb("version", "+", 1),
        state: eb.case().when("uses_left", "=", 1).then("used").else("approved").end(),
      }))
      .where("lookup", "=", lookup)
      .where("state", "=", "approved")
      .where("uses_left", ">", 0)
      .where("expires_at", ">", now)
      // Said at an instant that this clock has not reached: it was set back, and would make the yes last longer.
      .where("changed_at", "<=", now + CLOCKS_DIFFER)
      .returningAll()
      .executeTakeFirst();
    return row && toApproval(row);
  },
  expire: (forgetBefore) => expire(db, clock, forgetBefore),
  async areKnownUses(keys) {
    const rows = await db.selectFrom("first_uses").select("key").where("key", "in", keys).execute();
    return rows.length === new Set(keys).size;
  },
  async noteUses(keys) {
    await db
      .insertInto("first_uses")
      .values(keys.map((key) => ({ key, used_at: clock.now() })))
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  },
});

async function ask(db: Database, clock: Clock, approval: NewApproval, most: AskLimits) {
  await expireAlive(db, clock, approval.lookup);
  const known = await aliveOf(db, approval.lookup);
  if (known !== undefined) return { approval: toApproval(known), displaced: [] };
  if ((await askedSince(db, approval.agent, most.since)) >= most.asked) return undefined;
  const now = clock.now();
  await db
    .insertInto("approvals")
    .values({
      ...{ id: approval.id, lookup: approval.lookup, agent: approval.agent, state: "pending", version: 1 },
      ...{ summary: approval.summary, votes: "[]", sealed: approval.sealed, uses_left: 0 },
      ...{ created_at: now, expires_at: approval.expiresAt, changed_at: now },
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  const row = (await aliveOf(db, approval.lookup))!;
  const displaced =
    row.id === approval.id ? await displaceOldest(db, clock, approval.agent, most.pending) : [];
  return { approval: toApproval(row), displaced };
}

const aliveOf = (db: Database, lookup: string) =>
  db
    .selectFrom("approvals")
    .selectAll()
    .where("lookup", "=", lookup)
    .where("state", "in", ALIVE)
    .executeTakeFirst();

async function askedSince(db: Database, agent: string, since: number): Promise<number> {
  const { asked } = await db
    .selectFrom("approvals")
    .select((eb) => eb.fn.countAll<number>().as("asked"))
    .where("agent", "=", agent)
    .where("created_at", ">", since)
    .executeTakeFirstOrThrow();
  return asked;
}

/** A no that has expired is forgotten in silence: the same may be asked again. */
async function expireAlive(db: Database, clock: Clock, lookup: string): Promise<void> {
  await db
    .updateTable("approvals")
    .set((eb) => ({ ...ending(clock), state: "expired", version: eb("version", "+", 1) }))
    .where("lookup", "=", lookup)
    .where("state", "in", ALIVE)
    .where("expires_at", "<=", clock.now())
    .execute();
}

async function displaceOldest(
  db: Database,
  clock: Clock,
  agent: string,
  mostPending: number,
): Promise<StoredApproval[]> {
  const pending = await db
    .selectFrom("approvals")
    .select("id")
    .where("agent", "=", agent)
    .where("state", "=", "pending")
    .orderBy("created_at", "desc")
    .orderBy("id", "desc")
    .execute();
  const oldest = pending.slice(mostPending).map(({ id }) => id);
  if (oldest.length === 0) return [];
  const rows = await db
    .updateTable("approvals")
    .set((eb) => ({ ...ending(clock), state: "displaced", version: eb("version", "+", 1) }))
    .where("id", "in", oldest)
    .where("state", "=", "pending")
    .returningAll()
    .execute();
  return rows.map(toApproval);
}

async function expire(db: Database, clock: Clock, forgetBefore: number): Promise<StoredApproval[]> {
  await db
    .deleteFrom("approvals")
    .where("state", "in", ENDED)
    .where("changed_at", "<", forgetBefore)
    .execute();
  const rows = await db
    .updateTable("approvals")
    .set((eb) => ({ ...ending(clock), state: "expired", version: eb("version", "+", 1) }))
    .where("state", "in", ALIVE)
    .where("expires_at", "<=", clock.now())
    .returningAll()
    .execute();
  return rows.map(toApproval);
}

const ending = (clock: Clock) => ({ changed_at: clock.now(), sealed: NOTHING, uses_left: 0 });

const STATES: ReadonlySet<string> = new Set([...ALIVE, ...ENDED]);

/** Whatever is no state that this program knows releases nothing. */
const toApproval = (row: Selectable<Tables["approvals"]>): StoredApproval => ({
  ...{ id: row.id, lookup: row.lookup, agent: row.agent, version: row.version },
  state: STATES.has(row.state) ? (row.state as ApprovalState) : "withdrawn",
  ...{ summary: row.summary, votes: row.votes, sealed: toBuffer(row.sealed), usesLeft: row.uses_left },
  ...{ createdAt: row.created_at, expiresAt: row.expires_at, changedAt: row.changed_at },
});
