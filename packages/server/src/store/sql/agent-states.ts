// SPDX-License-Identifier: Apache-2.0
/** `AgentStateStore` in SQL. */
import type { Insertable, Selectable } from "kysely";
import type { Clock } from "../../kernel/clock.ts";
import type { AgentState, AgentStateStore } from "../agent-state-store.ts";
import { advanceEpoch, type Announce } from "./epochs.ts";
import { compareText } from "./tables.ts";
import type { Database, Tables } from "./tables.ts";

export function sqlAgentStateStore(db: Database, clock: Clock, announce: Announce): AgentStateStore {
  return {
    async set({ agent, state, reason, changedBy }) {
      const row = { agent, state, reason, changed_by: changedBy, changed_at: clock.now() };
      await db.transaction().execute(async (transaction) => {
        await advanceEpoch(transaction, "agents");
        await putState(transaction, row);
        await announce(transaction, "agents");
      });
      return toAgentState(row);
    },
    async get(agent) {
      const row = await db
        .selectFrom("agent_states")
        .selectAll()
        .where("agent", "=", agent)
        .executeTakeFirst();
      return row && toAgentState(row);
    },
    async list() {
      const rows = await db.selectFrom("agent_states").selectAll().execute();
      return rows.map(toAgentState).toSorted((a, b) => compareText(a.agent, b.agent));
    },
  };
}

async function putState(db: Database, row: Insertable<Tables["agent_states"]>): Promise<void> {
  await db
    .insertInto("agent_states")
    .values(row)
    .onConflict((conflict) =>
      conflict.column("agent").doUpdateSet((eb) => ({
        state: eb.ref("excluded.state"),
        reason: eb.ref("excluded.reason"),
        changed_by: eb.ref("excluded.changed_by"),
        changed_at: eb.ref("excluded.changed_at"),
      })),
    )
    .execute();
}

/** Whatever is not plainly `active` counts as cut. */
const toAgentState = (row: Selectable<Tables["agent_states"]>): AgentState => ({
  agent: row.agent,
  state: row.state === "active" ? "active" : "cut",
  reason: row.reason,
  changedBy: row.changed_by,
  changedAt: row.changed_at,
});
