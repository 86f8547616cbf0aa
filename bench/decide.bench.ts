// SPDX-License-Identifier: Apache-2.0
/**
 * What do decisions cost, and what do conditions and budgets leave of the gateway's throughput? Prints one JSON object.
 *
 * `npm run bench -- decide --json [--seconds=3] [--only=decisions|reserves|conditions]`; the last needs nginx, wrk and
 * taskset, and two cores.
 */
import { cpus } from "node:os";
import { type ConditionsCost, measureConditions } from "./decide/conditions-ratio.ts";
import { type DecisionRow, measureDecisions } from "./decide/decisions.ts";
import { measureReserves } from "./decide/reserves.ts";

const wordOf = (flag: string): string | undefined =>
  process.argv.find((word) => word.startsWith(`--${flag}=`))?.slice(flag.length + 3);
const seconds = Number(wordOf("seconds") ?? "3");
const only = wordOf("only");
const isWanted = (part: string): boolean => only === undefined || only === part;

const rows = isWanted("decisions") ? measureDecisions() : undefined;
const reservesPerSecond = isWanted("reserves") ? await measureReserves(seconds) : undefined;
const conditions: ConditionsCost | undefined = isWanted("conditions")
  ? await measureConditions(seconds)
  : undefined;

const growth = (all: readonly DecisionRow[], pick: (row: DecisionRow) => number): number =>
  Math.round((pick(all.at(-1)!) / pick(all[0]!)) * 1000) / 1000;

const decisions = rows && {
  cachedP50Us: Math.max(...rows.map(({ cached }) => cached.p50Us)),
  uncachedP99Us: Math.max(...rows.map(({ uncached }) => uncached.p99Us)),
  growthRatio: Math.max(
    growth(rows, ({ cached }) => cached.p50Us),
    growth(rows, ({ uncached }) => uncached.p50Us),
  ),
  growthRatioFromAll: growth(rows, ({ fromAll }) => fromAll.p50Us),
};

console.log(
  JSON.stringify({
    ...decisions,
    ...conditions,
    ...(reservesPerSecond && { reservesPerSecond }),
    ...(rows && { rows }),
    node: process.version,
    cpu: cpus()[0]?.model,
  }),
);
process.exit();
