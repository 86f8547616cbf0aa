// SPDX-License-Identifier: Apache-2.0
/**
 * The entry program: what happens inside the sandbox between its making and the agent's first instruction?
 *
 * It opens the agent's gate, hands it to the server, drops what is left of its privileges and becomes the agent:
 * the same process, so no helper stays and the server knows the agent's leader from its first byte. It takes its
 * orders from file descriptor 3, so that no token stands in arguments or environment.
 */
import { readFileSync, writeSync } from "node:fs";
import { become, keepStandardStreamsOnly, resetSignals } from "./become.ts";
import { buildView } from "./build-view.ts";
import {
  dieWithParent,
  dropCapabilities,
  forbidNewPrivileges,
  leaveSessionKeyring,
  restrictSystemCalls,
} from "./drop-privileges.ts";
import { findCommand } from "./find-command.ts";
import { bringUpLoopback, launch, listenOnLoopback } from "./launch.ts";
import type { EntryOrders, EntryReport } from "./plan.ts";
import { utilLinuxFinish } from "./util-linux.ts";

const ORDERS = 3;

function report(message: EntryReport): void {
  writeSync(ORDERS, JSON.stringify(message) + "\n");
}

function fail(code: number, message: string): never {
  report({ failed: { code, message } });
  process.exit(code);
}

function enter(orders: EntryOrders): never {
  const { spec, mode } = orders;
  if (orders.view !== undefined) buildView(orders.view);
  if (mode === "util-linux") bringUpLoopback();
  goTo(spec.cwd);
  const [name = "", ...rest] = spec.command;
  const command = findCommand(name, spec.env.PATH, spec.cwd);
  if (!command.ok) fail(command.reason.code, command.reason.message);
  const port = openGate(orders);
  const env = { ...spec.env };
  for (const variable of spec.gateVariables ?? [])
    env[variable] = (env[variable] ?? "").replaceAll("{port}", String(port));
  const program = finish(orders, command.value, [name, ...rest]);
  if (mode === "none") dieWithParent();
  else giveUpPrivileges(orders);
  resetSignals();
  keepStandardStreamsOnly();
  const error = become(program.file, program.argv, env);
  return fail(126, `${name}: ${error.message}`);
}

function goTo(cwd: string): void {
  try {
    process.chdir(cwd);
  } catch {
    fail(126, `${cwd}: the working folder is hidden from the agent; start it from another folder`);
  }
}

function openGate({ spec }: EntryOrders): number {
  if (spec.launch === undefined) return 0;
  const gate = listenOnLoopback(spec.launch.port);
  const answer = launch(spec.launch, gate.descriptor);
  if ("refused" in answer) fail(1, `the server refused the launch: ${answer.refused}`);
  report({ launched: { pid: answer.pid, port: gate.port } });
  return gate.port;
}

/** What to execute: the agent itself, or the programs that give back the caller's identity first. */
function finish(orders: EntryOrders, file: string, argv: readonly string[]) {
  if (orders.restoreIdentity === undefined) return { file, argv };
  const chain = utilLinuxFinish(orders.restoreIdentity, orders.restoreIdentity.programs);
  return { file: chain[0]!, argv: [...chain, file, ...argv.slice(1)] };
}

function giveUpPrivileges(orders: EntryOrders): void {
  leaveSessionKeyring();
  forbidNewPrivileges();
  restrictSystemCalls();
  // With an identity to restore, capabilities are still needed; `setpriv` drops them as the last step.
  if (orders.restoreIdentity === undefined) dropCapabilities();
}

try {
  enter(JSON.parse(readFileSync(ORDERS, "utf8")) as EntryOrders);
} catch (error) {
  fail(1, error instanceof Error ? error.message : String(error));
}
