// SPDX-License-Identifier: Apache-2.0
/** Does a process belong to a run? */
import { setImmediate as breathe } from "node:timers/promises";
import { listProcesses, type ProcessStat, readNamespace, readStat } from "./proc.ts";

/** What names a run's processes for certain. */
export interface RunProcesses {
  readonly leader: { readonly pid: number; readonly startTime: bigint };
  /** The run's own process namespace; undefined for a run that is not isolated. */
  readonly pidNamespace: string | undefined;
}

/** Deeper than any real nesting; ends a walk through a table that changes meanwhile. */
const MOST_ANCESTORS = 200;

/**
 * Isolated: the process lives in the run's process namespace, or in one made inside it. Nobody gets in there from
 * outside without rights over the run.
 *
 * Not isolated: the leader is among its ancestors. A process that let itself be adopted by another parent is no
 * longer recognised and is refused: the safe side. `stat` is the process's own, where it was read a moment ago.
 */
export function belongsTo(pid: number, run: RunProcesses, stat?: ProcessStat): boolean {
  return run.pidNamespace === undefined
    ? descendsFrom(pid, run.leader, stat)
    : livesIn(pid, run.pidNamespace);
}

/** Processes looked at before other work gets its turn: some two milliseconds. */
const TURN = 200;

/** All members at about this moment. A run with very many processes must not stop the server from serving others. */
export async function listMembers(run: RunProcesses): Promise<number[]> {
  const members: number[] = [];
  for (const [index, pid] of listProcesses().entries()) {
    if (belongsTo(pid, run)) members.push(pid);
    // eslint-disable-next-line no-await-in-loop
    if (index % TURN === TURN - 1) await breathe();
  }
  return members;
}

/** The server's own process namespace never changes. */
let outside: string | undefined;

/** Whether it lives in this process namespace, or in one made inside it. */
export function livesIn(pid: number, wanted: string): boolean {
  outside ??= readNamespace("self", "pid");
  let current = pid;
  for (let step = 0; step < MOST_ANCESTORS; step++) {
    const namespace = readNamespace(current, "pid");
    if (namespace === wanted) return true;
    if (namespace === undefined || namespace === outside) return false;
    // A namespace that is neither: the first process in it was started from the namespace above.
    const parent = readStat(current)?.parent;
    if (parent === undefined || parent <= 1) return false;
    current = parent;
  }
  return false;
}

export function descendsFrom(
  pid: number,
  leader: RunProcesses["leader"],
  own: ProcessStat | undefined = readStat(pid),
): boolean {
  let current = pid;
  let stat = own;
  for (let step = 0; step < MOST_ANCESTORS && stat !== undefined; step++) {
    if (current === leader.pid) return stat.startTime === leader.startTime;
    if (stat.parent <= 1) return false;
    const parent = readStat(stat.parent);
    // A parent younger than its child is another process that got the number.
    if (parent === undefined || parent.startTime > stat.startTime) return false;
    current = stat.parent;
    stat = parent;
  }
  return false;
}
