// SPDX-License-Identifier: Apache-2.0
/** `JoinTokenStore` in SQL: who deletes the row has the token. */
import type { Clock } from "../../kernel/clock.ts";
import type { JoinTokenStore } from "../join-token-store.ts";
import type { Database } from "./tables.ts";

export const sqlJoinTokenStore = (db: Database, clock: Clock): JoinTokenStore => ({
  async add({ digest, expiresAt, name, provider }) {
    await db.deleteFrom("join_tokens").where("expires_at", "<=", clock.now()).execute();
    await db.insertInto("join_tokens").values({ digest, provider, name, expires_at: expiresAt }).execute();
  },
  async redeem(provider, digest) {
    const row = await db
      .deleteFrom("join_tokens")
      .where("digest", "=", digest)
      .where("provider", "=", provider)
      .where("expires_at", ">", clock.now())
      .returningAll()
      .executeTakeFirst();
    return row && { digest: row.digest, provider: row.provider, name: row.name, expiresAt: row.expires_at };
  },
});
