// SPDX-License-Identifier: Apache-2.0
/**
 * Does a process at the operators' socket belong to an agent, or to whoever started it?
 *
 * An agent that is not isolated runs under the operator's own account, and so does the program that started it. The
 * kernel says which process asks and from which it stems; a process that let itself be adopted by another parent is
 * found no more, which only isolation prevents.
 */
import { belongsTo, descendsFrom, type RunProcesses } from "./membership.ts";
import { readStat } from "./proc.ts";

/** The process that asked for a run, and what it shares with everything from the same terminal. */
export interface Opener {
  readonly pid: number;
  readonly startTime: bigint;
  /** Process session (credentials(7)): a terminal, or one start of a service. */
  readonly session: number;
}

export function openerOf(pid: number): Opener | undefined {
  const stat = readStat(pid);
  return stat && { pid, startTime: stat.startTime, session: stat.session };
}

export interface OpenRun {
  readonly id: string;
  /** Absent where the agent is told by its selectors: it could be any. */
  readonly agent?: string | undefined;
  /** Absent before it was launched. */
  readonly processes?: RunProcesses | undefined;
  readonly opener?: Opener | undefined;
}

/** Why the process may say nothing at all of agents: it is one, or where it stems from cannot be seen. */
export function objectionToAgent(pid: number, runs: readonly OpenRun[]): string | undefined {
  if (pid <= 0 || readStat(pid) === undefined) return "it cannot be seen which process asks";
  const run = runs.find(({ processes }) => processes !== undefined && belongsTo(pid, processes));
  return run && `the process that asks belongs to run ${run.id} of an agent`;
}

/** Why the process may not speak for `agent`; undefined where it may. */
export function objectionTo(pid: number, agent: string, runs: readonly OpenRun[]): string | undefined {
  const stat = pid > 0 ? readStat(pid) : undefined;
  if (stat === undefined) return "it cannot be seen which process asks";
  for (const run of runs) {
    if (run.processes !== undefined && belongsTo(pid, run.processes))
      return `the process that asks belongs to run ${run.id} of an agent; no agent approves`;
    if (run.opener === undefined || (run.agent !== undefined && run.agent !== agent)) continue;
    if (descendsFrom(pid, run.opener) || stat.session === run.opener.session)
      return `the process that asks is where run ${run.id} of agent ${agent} was started; approve from another terminal`;
  }
  return undefined;
}
