// SPDX-License-Identifier: Apache-2.0
/** Brings the tables of a database to the form this program knows; refuses one that is already beyond it. */
import { sql } from "kysely";
import type { Clock } from "../../kernel/clock.ts";
import { Fault } from "../../kernel/fault.ts";
import { MIGRATIONS, type SqlWords } from "./migrations.ts";
import type { Database } from "./tables.ts";

/** Each migration is one transaction: an interrupted start continues where it stopped. */
export async function migrate(
  db: Database,
  words: SqlWords,
  clock: Clock,
  migrations = MIGRATIONS,
): Promise<void> {
  await sql
    .raw(
      `create table if not exists schema_migrations (
         version ${words.bigint} primary key not null,
         name text not null,
         applied_at ${words.bigint} not null
       ) ${words.tableOptions}`,
    )
    .execute(db);
  const { applied } = await db
    .selectFrom("schema_migrations")
    .select((eb) => eb.fn.max("version").as("applied"))
    .executeTakeFirstOrThrow();
  const from = (applied as number | null) ?? 0;
  if (from > migrations.length) {
    throw new Fault(
      "internal_error",
      `the database has schema ${from}, this program knows up to ${migrations.length}: ` +
        "start the newer version of postern that wrote it, or restore a backup from before the upgrade",
    );
  }
  for (const [offset, migration] of migrations.slice(from).entries()) {
    await db.transaction().execute(async (transaction) => {
      for (const statement of migration.statements(words)) await sql.raw(statement).execute(transaction);
      await transaction
        .insertInto("schema_migrations")
        .values({ version: from + offset + 1, name: migration.name, applied_at: clock.now() })
        .execute();
    });
  }
}
