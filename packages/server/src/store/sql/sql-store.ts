// SPDX-License-Identifier: Apache-2.0
/** All aggregates over one SQL database; an engine's adapter opens and closes it. */
import type { Clock } from "../../kernel/clock.ts";
import type { Store } from "../store.ts";
import { sqlAgentStateStore } from "./agent-states.ts";
import { sqlKeyStore } from "./keys.ts";
import { sqlResourceStore } from "./resources.ts";
import { sqlSecretStore } from "./secrets.ts";
import type { Database } from "./tables.ts";

export function sqlStore(
  db: Database,
  clock: Clock,
  engine: { scrubFiles(): void; close(): Promise<void> },
): Store {
  return {
    resources: sqlResourceStore(db, clock),
    secrets: sqlSecretStore(db, clock, () => engine.scrubFiles()),
    agentStates: sqlAgentStateStore(db, clock),
    keys: sqlKeyStore(db, clock),
    async sealedUnder() {
      const rows = await db
        .selectFrom("secret_versions")
        .select("key_id")
        .union(db.selectFrom("sealed_keys").select("key_id"))
        .execute();
      return rows.map(({ key_id }) => key_id).toSorted();
    },
    close: () => engine.close(),
  };
}
