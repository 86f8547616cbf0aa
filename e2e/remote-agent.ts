// SPDX-License-Identifier: Apache-2.0
/**
 * Started as the agent inside `postern run`: does with sockets what the test outside says, byte for byte.
 *
 * One JSON object a line, commands in on standard input, events out on standard output.
 */
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { connect as connectTls } from "node:tls";
import type { AgentCommand, AgentEvent } from "./agent-protocol.ts";

const open = new Map<number, Socket>();

const tell = (event: AgentEvent): void => void process.stdout.write(`${JSON.stringify(event)}\n`);
const now = (): number => performance.timeOrigin + performance.now();

tell({ event: "ready", environment: { ...process.env } as Record<string, string>, pid: process.pid });
for await (const line of createInterface({ input: process.stdin })) obey(JSON.parse(line) as AgentCommand);
process.exit(0);

function obey(command: AgentCommand): void {
  const socket = open.get(command.id);
  switch (command.do) {
    case "connect":
      return watch(command.id, connect(gate(command.to)));
    case "tls": {
      const { serverName: servername, alpn: ALPNProtocols, isCareless = false } = command;
      socket!.removeAllListeners("data");
      return watch(
        command.id,
        connectTls({
          socket: socket!,
          ...(servername === undefined ? {} : { servername }),
          ALPNProtocols,
          rejectUnauthorized: !isCareless,
        }),
      );
    }
    case "write":
      return void socket?.write(Buffer.from(command.bytes, "base64"));
    case "pause":
      return void socket?.pause();
    case "end":
      return void socket?.end();
    case "destroy":
      return void socket?.destroy();
  }
}

function gate(to: string): { path: string } | { host: string; port: number } {
  if (to === "door") return { path: process.env["POSTERN_DOOR"]! };
  const { hostname, port } = new URL(process.env["POSTERN_GATE"]!);
  return { host: hostname, port: Number(port) };
}

function watch(id: number, socket: Socket): void {
  open.set(id, socket);
  socket.on("secureConnect", () => tell({ event: "secure", id, at: now() }));
  socket.on("data", (bytes: Buffer) =>
    tell({ event: "data", id, at: now(), bytes: bytes.toString("base64") }),
  );
  socket.on("error", (error: NodeJS.ErrnoException) =>
    tell({ event: "error", id, at: now(), code: error.code ?? error.message }),
  );
  socket.on("close", () => {
    if (open.get(id) === socket) tell({ event: "close", id, at: now() });
  });
}
