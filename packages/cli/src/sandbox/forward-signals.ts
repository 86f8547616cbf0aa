// SPDX-License-Identifier: Apache-2.0
/** Which signals that reach the command line go on to the agent, and which has the terminal sent it already? */
import { readFileSync } from "node:fs";
import type { Sandboxed } from "./start-sandboxed.ts";

const FORWARDED = ["SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH"] as const;
/** The terminal sends these to every process of the foreground group, the agent included. */
const FROM_TERMINAL: readonly string[] = ["SIGINT", "SIGQUIT", "SIGWINCH"];

/** Forwards until the agent ends; a signal that comes before the agent has started waits for it. */
export function forwardSignals(sandboxed: Sandboxed): void {
  let leader: number | undefined;
  const waiting: NodeJS.Signals[] = [];
  const forward = (signal: NodeJS.Signals) => {
    if (FROM_TERMINAL.includes(signal) && inForeground()) return;
    if (leader === undefined) waiting.push(signal);
    else send(leader, signal);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  void sandboxed.started.then((started) => {
    leader = started?.pid;
    if (leader !== undefined) for (const signal of waiting) send(leader, signal);
  });
  void sandboxed.exit.then(() => {
    for (const signal of FORWARDED) process.off(signal, forward);
  });
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended in between; its exit is on the way.
  }
}

/** Whether this process belongs to the foreground group of its terminal (`proc(5)`: stat fields 5, 7 and 8). */
function inForeground(): boolean {
  const stat = readFileSync("/proc/self/stat", "latin1");
  const [, , group, , terminal, foregroundGroup] = stat
    .slice(stat.lastIndexOf(")") + 1)
    .trim()
    .split(" ");
  return terminal !== "0" && group === foregroundGroup;
}
