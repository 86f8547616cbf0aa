// SPDX-License-Identifier: Apache-2.0
/** `EvidenceStore` in SQL: the primary key decides who was first. */
import type { Clock } from "../../kernel/clock.ts";
import type { EvidenceStore } from "../evidence-store.ts";
import type { Database } from "./tables.ts";

/** The clock of another server, or this one after it was set back, may still take evidence that ours takes no more. */
const CLOCKS_DIFFER = 3_600_000;

export const sqlEvidenceStore = (db: Database, clock: Clock): EvidenceStore => ({
  async useOnce(digest, expiresAt) {
    await db
      .deleteFrom("used_evidence")
      .where("expires_at", "<=", clock.now() - CLOCKS_DIFFER)
      .execute();
    const { numInsertedOrUpdatedRows } = await db
      .insertInto("used_evidence")
      .values({ digest, expires_at: expiresAt })
      .onConflict((conflict) => conflict.column("digest").doNothing())
      .executeTakeFirstOrThrow();
    return numInsertedOrUpdatedRows === 1n;
  },
});
