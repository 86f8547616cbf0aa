// SPDX-License-Identifier: Apache-2.0
/** All aggregates over one SQL database; an engine's adapter opens and closes it. */
import type { Clock } from "../../kernel/clock.ts";
import type { Store } from "../store.ts";
import { sqlApprovalStore } from "./approvals.ts";
import { sqlAuthorityStore } from "./authorities.ts";
import { sqlAgentStateStore } from "./agent-states.ts";
import { type Announce, readEpochs } from "./epochs.ts";
import { sqlEvidenceStore } from "./evidence.ts";
import { sqlGrantStore } from "./grants.ts";
import { sqlJoinTokenStore } from "./join-tokens.ts";
import { sqlKeyStore } from "./keys.ts";
import { sqlPostureStore } from "./posture.ts";
import { sqlResourceStore } from "./resources.ts";
import { sqlSealedValueStore } from "./sealed-values.ts";
import { sqlSecretStore } from "./secrets.ts";
import type { Database } from "./tables.ts";

/** Where engines differ. */
export interface Engine {
  readonly announce: Announce;
  /** Makes deleted rows leave the engine's files too, as far as the engine can. */
  scrubFiles(): void;
  close(): Promise<void>;
}

export function sqlStore(db: Database, clock: Clock, engine: Engine): Omit<Store, "budgets"> {
  const { announce } = engine;
  return {
    resources: sqlResourceStore(db, clock, announce),
    secrets: sqlSecretStore(db, clock, engine),
    agentStates: sqlAgentStateStore(db, clock, announce),
    authorities: sqlAuthorityStore(db, announce),
    keys: sqlKeyStore(db, clock, announce),
    sealedValues: sqlSealedValueStore(db, engine),
    evidence: sqlEvidenceStore(db, clock),
    joinTokens: sqlJoinTokenStore(db, clock),
    approvals: sqlApprovalStore(db, clock),
    grants: sqlGrantStore(db, clock),
    posture: sqlPostureStore(db, clock, announce),
    epochs: () => readEpochs(db),
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
