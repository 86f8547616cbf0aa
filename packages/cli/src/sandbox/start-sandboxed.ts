// SPDX-License-Identifier: Apache-2.0
/** How is an agent started inside the sandbox, and how does its end come back? */
import { spawn, type ChildProcess, type StdioOptions } from "node:child_process";
import { constants } from "node:os";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { bubblewrapArguments } from "./bubblewrap.ts";
import { planFilesystemView } from "./filesystem-view.ts";
import type { EntryOrders, EntryReport, SandboxPlan } from "./plan.ts";
import { systemCallFilter } from "./seccomp-filter.ts";
import { systemProgram } from "./system-program.ts";
import { utilLinuxArguments } from "./util-linux.ts";

export interface SandboxExit {
  /** As a shell gives it: 128 + n after signal n, 127 and 126 where the command could not be started. */
  readonly code: number;
  /** Why the agent was never started, in one sentence; absent where it ran. */
  readonly failure?: string;
}

export interface Sandboxed {
  readonly child: ChildProcess;
  /** Process id of the agent's leader as the server sees it, and the gate's port; undefined if it never started. */
  readonly started: Promise<{ readonly pid: number; readonly port: number } | undefined>;
  readonly exit: Promise<SandboxExit>;
}

/** This machine lacks what the sandbox needs, or the plan cannot be kept. */
export class SandboxUnavailable extends Error {}

/**
 * Sandbox runners die of the terminal's Ctrl-C even where the agent handles it, and take the agent along. So they
 * run with these signals ignored; the entry program puts the agent's own dispositions right.
 */
const SHIELD = 'trap "" HUP INT QUIT TERM USR1 USR2; exec "$@"';

/** Where bubblewrap reads the system call filter from; it closes it. */
const SECCOMP_DESCRIPTOR = 4;

/** Starts the agent. The standard streams are the caller's own unless `streams` says otherwise. */
export function startSandboxed(
  plan: SandboxPlan,
  streams: readonly ["inherit" | "ignore" | "pipe", "inherit" | "pipe", "inherit" | "pipe"] = [
    "inherit",
    "inherit",
    "inherit",
  ],
): Sandboxed {
  const prepared = prepare(plan);
  if (!prepared.ok) throw new SandboxUnavailable(prepared.reason);
  const { runner, orders } = prepared.value;
  const entry = [process.execPath, "--no-warnings", fileURLToPath(import.meta.resolve("./enter.ts"))];
  const child = spawn("/bin/sh", ["-c", SHIELD, "sh", ...runner, ...entry], {
    stdio: [...streams, "pipe", ...(plan.mode === "bubblewrap" ? ["pipe"] : [])] as StdioOptions,
    // The agent's environment travels in the orders; the runner's own programs are found beforehand.
    env: { PATH: "/usr/bin:/bin" },
  });
  if (plan.mode === "bubblewrap") {
    const filter = child.stdio[SECCOMP_DESCRIPTOR] as Duplex;
    filter.on("error", () => {});
    filter.end(systemCallFilter(true));
  }
  return follow(child, orders);
}

function prepare(
  plan: SandboxPlan,
): { ok: true; value: { runner: string[]; orders: EntryOrders } } | { ok: false; reason: string } {
  const orders: EntryOrders = { spec: plan.spec, mode: plan.mode };
  if (plan.mode === "none") return { ok: true, value: { runner: [], orders } };
  const view = planFilesystemView(plan.hidePaths, plan.runFolder, plan.readOnlyPaths);
  if (!view.ok) return view;
  const identity = { uid: process.getuid!(), gid: process.getgid!() };
  if (plan.mode === "bubblewrap") {
    const bwrap = systemProgram("bwrap");
    if (bwrap === undefined) return { ok: false, reason: missing("bwrap", "bubblewrap") };
    const words = bubblewrapArguments(view.value, identity, SECCOMP_DESCRIPTOR);
    return { ok: true, value: { runner: [bwrap, ...words], orders } };
  }
  const [setpriv, unshare] = [systemProgram("setpriv"), systemProgram("unshare")];
  if (setpriv === undefined) return { ok: false, reason: missing("setpriv", "util-linux") };
  if (unshare === undefined) return { ok: false, reason: missing("unshare", "util-linux") };
  const restoreIdentity = { ...identity, programs: { setpriv, unshare } };
  return {
    ok: true,
    value: {
      runner: [setpriv, ...utilLinuxArguments(identity, unshare)],
      orders: { ...orders, view: view.value, ...(identity.uid === 0 ? {} : { restoreIdentity }) },
    },
  };
}

const missing = (program: string, what: string): string =>
  `${program} is not in a folder that only root may change; install ${what}`;

function follow(child: ChildProcess, orders: EntryOrders): Sandboxed {
  let failure: string | undefined;
  const started = Promise.withResolvers<{ pid: number; port: number } | undefined>();
  const channel = child.stdio[3] as Duplex;
  // An entry program that died early closes the channel; its exit says the rest.
  channel.on("error", () => {});
  onLine(channel, (line) => {
    const message = JSON.parse(line) as EntryReport;
    if ("launched" in message) started.resolve(message.launched);
    else failure = message.failed.message;
  });
  channel.end(JSON.stringify(orders));
  const exit = new Promise<SandboxExit>((resolve) => {
    child.once("error", (error) => resolve({ code: 126, failure: error.message }));
    child.once("close", (code, signal) => {
      const number = code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
      resolve(failure === undefined ? { code: number } : { code: number, failure });
    });
  });
  void exit.then(() => started.resolve(undefined));
  return { child, started: started.promise, exit };
}

function onLine(stream: Duplex, take: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    for (const line of lines) take(line);
  });
}
