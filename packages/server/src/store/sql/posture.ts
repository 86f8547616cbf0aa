// SPDX-License-Identifier: Apache-2.0
/** `PostureStore` in SQL. */
import type { Clock } from "../../kernel/clock.ts";
import type { PostureStore, StoredPosture } from "../posture-store.ts";
import { advanceEpoch, type Announce } from "./epochs.ts";
import { compareText, type Database } from "./tables.ts";

const AREA = "posture";

export const sqlPostureStore = (db: Database, clock: Clock, announce: Announce): PostureStore => ({
  put: (report, most) =>
    db.transaction().execute(async (transaction) => {
      // First, so that reports queue here: of two of one source the later one stays.
      await advanceEpoch(transaction, AREA);
      await transaction.deleteFrom("posture").where("expires_at", "<=", clock.now()).execute();
      const outcome = await putOne(transaction, report, most);
      if (outcome === "kept") await announce(transaction, AREA);
      return outcome;
    }),
  async list() {
    const rows = await db.selectFrom("posture").selectAll().where("expires_at", ">", clock.now()).execute();
    return rows
      .map((row): StoredPosture => ({
        ...{ subject: row.subject, source: row.source },
        facts: JSON.parse(row.facts) as StoredPosture["facts"],
        ...{ observedAt: row.observed_at, expiresAt: row.expires_at },
      }))
      .toSorted((a, b) => compareText(a.subject, b.subject) || compareText(a.source, b.source));
  },
});

async function putOne(
  db: Database,
  { subject, source, facts, observedAt, expiresAt }: StoredPosture,
  most: number,
): Promise<"kept" | "older" | "full"> {
  const before = await db
    .selectFrom("posture")
    .select("observed_at")
    .where("subject", "=", subject)
    .where("source", "=", source)
    .executeTakeFirst();
  if (before !== undefined && before.observed_at > observedAt) return "older";
  if (before !== undefined)
    await db.deleteFrom("posture").where("subject", "=", subject).where("source", "=", source).execute();
  if (Object.keys(facts).length === 0) return "kept";
  const { count } = await db
    .selectFrom("posture")
    .select((eb) => eb.fn.countAll<number>().as("count"))
    .executeTakeFirstOrThrow();
  if (count >= most) return "full";
  const times = { observed_at: observedAt, expires_at: expiresAt };
  await db
    .insertInto("posture")
    .values({ subject, source, facts: JSON.stringify(facts), ...times })
    .execute();
  return "kept";
}
