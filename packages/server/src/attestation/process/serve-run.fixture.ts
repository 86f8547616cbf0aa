// SPDX-License-Identifier: Apache-2.0
/**
 * A server reduced to runs, for tests that need it as a process of its own (another user, a crash).
 *
 * Takes one JSON argument, prints one JSON line per event, answers every HTTP request with what it knows of the
 * caller, or with the reason of the refusal, and ends with its standard input.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { CallerFacts } from "./identify-caller.ts";
import type { PendingCaller } from "./run.ts";
import { Runs } from "./runs.ts";
import { selectorsWithHashOf } from "./selectors.ts";

interface Order {
  readonly folder: string;
  readonly isolated: boolean;
  readonly agent?: string;
  readonly launchTimeoutMs?: number;
}

const order = JSON.parse(process.argv[2]!) as Order;
const say = (event: object) => process.stdout.write(JSON.stringify(event) + "\n");
const log = { write: (_level: string, message: string, fields = {}) => say({ log: message, ...fields }) };
const runs = new Runs(order.folder, log, order.launchTimeoutMs);
const callers = new WeakMap<Socket, CallerFacts>();

const http = createServer((request, response) => void answer(request, response));

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const caller = callers.get(request.socket)!;
  const processes = await Promise.all(
    caller.processes.map(async (each) => {
      const selectors = await selectorsWithHashOf(each, caller.run);
      return {
        pid: each.pid,
        path: each.path,
        selectors: selectors.ok ? [...selectors.value] : selectors.reason,
      };
    }),
  );
  response.end(JSON.stringify({ transport: caller.transport, processes, stillHolds: caller.stillHolds() }));
}

const run = await runs.openRun({
  uid: process.getuid!(),
  isolated: order.isolated,
  ...(order.agent === undefined ? {} : { agent: order.agent }),
});
run.onConnection((socket, caller) => void serve(socket, caller));

async function serve(socket: Socket, caller: PendingCaller): Promise<void> {
  const identity = await caller.identify();
  if (!identity.ok) {
    say({ refused: identity.reason });
    socket.end(`HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n${identity.reason}`);
    return;
  }
  callers.set(socket, identity.value);
  http.emit("connection", socket);
  socket.resume();
}

const { launchSocket, doorSocket, launchToken, folder } = run;
say({ opened: { launchSocket, doorSocket, launchToken, folder, id: run.facts.id, pid: process.pid } });
void run.launched.then((result) =>
  say(
    result.ok
      ? { launched: { pid: result.value.processes.leader.pid, port: result.value.port } }
      : { notLaunched: result.reason },
  ),
);
void run.closed.then((reason) => say({ closed: reason }));
process.stdin.resume().once("end", () => {
  runs.closeAll();
  process.exit(0);
});
