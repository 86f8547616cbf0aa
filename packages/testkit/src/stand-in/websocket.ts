// SPDX-License-Identifier: Apache-2.0
/**
 * How does a stand-in take a WebSocket? With the `ws` package, after the same check of the credential as for
 * any request, and with a record of what came.
 */
import { type IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer, type WebSocket } from "ws";

/** One WebSocket as the stand-in saw it. `closed` is set when it is over: with the code that came, 1006 for none. */
export interface SocketRecord {
  readonly target: string;
  readonly headers: IncomingMessage["headers"];
  /** What was agreed on, and what the other side had offered. */
  readonly subprotocol: string;
  readonly offered: readonly string[];
  readonly extensions: string;
  readonly messages: { readonly isBinary: boolean; readonly bytes: Buffer }[];
  closed?: { readonly code: number; readonly reason: string; readonly at: number };
}

export class SocketTaker {
  readonly records: SocketRecord[] = [];
  /** It would compress, if only it was asked. */
  readonly #server = new WebSocketServer({ noServer: true, perMessageDeflate: true });

  get open(): number {
    return this.records.filter(({ closed }) => closed === undefined).length;
  }

  take(request: IncomingMessage, socket: Duplex, head: Buffer, converse: (peer: WebSocket) => void): void {
    const offered = (request.headers["sec-websocket-protocol"] ?? "").split(/\s*,\s*/).filter(Boolean);
    this.#server.handleUpgrade(request, socket, head, (peer) => {
      const record: SocketRecord = {
        target: request.url ?? "",
        headers: request.headers,
        subprotocol: peer.protocol,
        offered,
        extensions: peer.extensions,
        messages: [],
      };
      this.records.push(record);
      peer.on("error", () => {});
      peer.on("message", (data: Buffer, isBinary: boolean) =>
        record.messages.push({ isBinary, bytes: data }),
      );
      peer.on("close", (code: number, reason: Buffer) => {
        record.closed = { code, reason: reason.toString(), at: Date.now() };
      });
      converse(peer);
    });
  }

  close(): void {
    for (const peer of this.#server.clients) peer.terminate();
  }
}

/** An answer to a request that asks for another protocol and does not get it. */
export function plainAnswerTo(request: IncomingMessage, socket: Duplex): ServerResponse {
  const response = new ServerResponse(request);
  response.assignSocket(socket as never);
  response.shouldKeepAlive = false;
  response.once("finish", () => socket.end());
  return response;
}
