// SPDX-License-Identifier: Apache-2.0
/**
 * Started as the agent inside `postern run`: opens WebSockets with somebody else's client, as the test outside says.
 *
 * One JSON object a line, commands in on standard input, events out on standard output. Bytes are base64.
 */
import { createInterface } from "node:readline";
import { HttpsProxyAgent } from "https-proxy-agent";
import { WebSocket } from "ws";

export type SocketCommand =
  | {
      readonly do: "open";
      readonly id: number;
      /** `{gate}` is replaced by the gate's host and port. */
      readonly url: string;
      readonly throughProxy: boolean;
      readonly protocols: readonly string[];
      readonly headers: Readonly<Record<string, string>>;
    }
  | {
      readonly do: "send";
      readonly id: number;
      readonly bytes: string;
      readonly isBinary: boolean;
      readonly isLast: boolean;
    }
  | { readonly do: "ping"; readonly id: number; readonly bytes: string }
  | { readonly do: "close"; readonly id: number; readonly code: number; readonly reason: string }
  | { readonly do: "vanish"; readonly id: number };

export type SocketEvent =
  | { readonly event: "ready" }
  | {
      readonly event: "open";
      readonly id: number;
      readonly protocol: string;
      readonly extensions: string;
      readonly auditId: string;
    }
  | { readonly event: "message"; readonly id: number; readonly bytes: string; readonly isBinary: boolean }
  | { readonly event: "ping"; readonly id: number; readonly bytes: string }
  | { readonly event: "pong"; readonly id: number; readonly bytes: string }
  | { readonly event: "refused"; readonly id: number; readonly status: number; readonly body: string }
  | {
      readonly event: "closed";
      readonly id: number;
      readonly code: number;
      readonly reason: string;
      readonly at: number;
    };

const open = new Map<number, WebSocket>();
const tell = (event: SocketEvent): void => void process.stdout.write(`${JSON.stringify(event)}\n`);

tell({ event: "ready" });
for await (const line of createInterface({ input: process.stdin })) obey(JSON.parse(line) as SocketCommand);
process.exit(0);

function obey(command: SocketCommand): void {
  if (command.do === "open") return start(command);
  const socket = open.get(command.id)!;
  if (command.do === "vanish") return socket.terminate();
  if (command.do === "close") return socket.close(command.code, command.reason);
  const bytes = Buffer.from(command.bytes, "base64");
  if (command.do === "ping") return socket.ping(bytes);
  socket.send(bytes, { binary: command.isBinary, fin: command.isLast });
}

function start({ id, url, throughProxy, protocols, headers }: Extract<SocketCommand, { do: "open" }>): void {
  const socket = new WebSocket(
    url.replace("{gate}", new URL(process.env["POSTERN_GATE"]!).host),
    [...protocols],
    {
      headers,
      ...(throughProxy ? { agent: new HttpsProxyAgent(process.env["HTTPS_PROXY"]!) } : {}),
    },
  );
  open.set(id, socket);
  let auditId = "";
  socket.on("upgrade", ({ headers: answered }) => (auditId = String(answered["postern-audit-id"])));
  socket.on("open", () =>
    tell({ event: "open", id, protocol: socket.protocol, extensions: socket.extensions, auditId }),
  );
  socket.on("message", (data: Buffer, isBinary) =>
    tell({ event: "message", id, bytes: data.toString("base64"), isBinary }),
  );
  for (const event of ["ping", "pong"] as const)
    socket.on(event, (data: Buffer) => tell({ event, id, bytes: data.toString("base64") }));
  socket.on("unexpected-response", (_request, response) => {
    let body = "";
    response.on("data", (text: Buffer) => (body += text.toString()));
    response.on("end", () => tell({ event: "refused", id, status: response.statusCode ?? 0, body }));
  });
  socket.on("error", () => {});
  socket.on("close", (code, reason) =>
    tell({ event: "closed", id, code, reason: reason.toString(), at: Date.now() }),
  );
}
