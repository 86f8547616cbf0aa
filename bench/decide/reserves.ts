// SPDX-License-Identifier: Apache-2.0
/** How many times a second can a request be reserved in three budgets and settled, with 32 under way? On each kind of store. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hasPostgres, hasRedis, startPostgres, startRedis } from "@postern/testkit";
import type { BudgetLedger } from "../../packages/server/src/budget/ledger.ts";
import { systemClock } from "../../packages/server/src/kernel/clock.ts";
import { silentLog } from "../../packages/server/src/kernel/log.ts";
import { openPostgresStore } from "../../packages/server/src/store/postgres/open-postgres-store.ts";
import { openRedisBudgets } from "../../packages/server/src/store/redis/budget-ledger.ts";
import { openStore } from "../../packages/server/src/store/sqlite/open-store.ts";

const AT_ONCE = 32;
/** Of those, the first is one for all callers. */
const BUDGETS = 3;
const AGENTS = 100;

/** By kind of store; a kind that is not on this machine is missing. */
export async function measureReserves(seconds: number): Promise<Record<string, number>> {
  const found: Record<string, number> = { process: await inProcess(seconds) };
  if (hasPostgres()) found["postgresql"] = await onPostgres(seconds);
  if (hasRedis()) found["redis"] = await onRedis(seconds);
  return found;
}

async function inProcess(seconds: number): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "postern-bench-"));
  const store = await openStore({ file: join(folder, "postern.db"), clock: systemClock });
  try {
    return await rateOf(store.budgets, seconds);
  } finally {
    await store.close();
    rmSync(folder, { recursive: true });
  }
}

async function onPostgres(seconds: number): Promise<number> {
  const server = await startPostgres();
  try {
    const store = await openPostgresStore({ url: await server.createDatabase(), clock: systemClock });
    const rate = await rateOf(store.budgets, seconds);
    await store.close();
    return rate;
  } finally {
    await server.remove();
  }
}

/** With an append-only file that is synced each second. */
async function onRedis(seconds: number): Promise<number> {
  const server = await startRedis();
  try {
    const ledger = await openRedisBudgets(server.freshUrl(), silentLog);
    const rate = await rateOf(ledger, seconds);
    await ledger.close();
    return rate;
  } finally {
    await server.remove();
  }
}

async function rateOf(ledger: BudgetLedger, seconds: number): Promise<number> {
  let done = 0;
  let ends = performance.now() + 1000;
  const call = async (lane: number): Promise<void> => {
    for (let n = 0; performance.now() < ends; n++) {
      const id = `${lane}-${n}-${ends}`;
      // One after the other in each lane: that many are under way.
      // oxlint-disable no-await-in-loop
      const { isAdmitted } = await ledger.reserve(id, claimsOf((lane + n * AT_ONCE) % AGENTS));
      if (!isAdmitted) throw new Error("the benchmark's budget is exhausted");
      await ledger.settle(
        id,
        Array.from({ length: BUDGETS }, () => 1),
      );
      // oxlint-enable no-await-in-loop
      done++;
    }
  };
  const callAll = (): Promise<unknown> =>
    Promise.all(Array.from({ length: AT_ONCE }, (_, lane) => call(lane)));
  await callAll();
  done = 0;
  const started = performance.now();
  ends = started + seconds * 1000;
  await callAll();
  return Math.round((done * 1000) / (performance.now() - started));
}

function claimsOf(agent: number) {
  const rest = { limit: 1e12, keep: 1, hold: 1, endsAt: systemClock.now() + 86_400_000 };
  return [
    { key: "all", ...rest },
    ...Array.from({ length: BUDGETS - 1 }, (_, budget) => ({ key: `${budget}-agent-${agent}`, ...rest })),
  ];
}
