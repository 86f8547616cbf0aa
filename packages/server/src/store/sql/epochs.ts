// SPDX-License-Identifier: Apache-2.0
/** The counters that grow with every change, one per area; each is written in the transaction of its change. */
import type { Area, Epochs } from "../changes.ts";
import type { Database } from "./tables.ts";

/** Tells other servers, as part of the transaction: nobody hears of what was rolled back. */
export type Announce = (transaction: Database, area: Area) => Promise<void>;

/** Comes first in a transaction: changes of one area queue on this row, also with step 0. */
export async function advanceEpoch(transaction: Database, area: Area, step: 0 | 1 = 1): Promise<void> {
  await transaction
    .updateTable("epochs")
    .set((eb) => ({ value: eb("value", "+", step) }))
    .where("name", "=", area)
    .execute();
}

export async function readEpochs(db: Database): Promise<Epochs> {
  const rows = await db.selectFrom("epochs").selectAll().execute();
  const value = (area: Area): number => rows.find(({ name }) => name === area)?.value ?? 0;
  return {
    resources: value("resources"),
    agents: value("agents"),
    secrets: value("secrets"),
    keys: value("keys"),
    authorities: value("authorities"),
    posture: value("posture"),
  };
}
