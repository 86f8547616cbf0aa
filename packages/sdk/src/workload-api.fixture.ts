// SPDX-License-Identifier: Apache-2.0
/** A Workload API for tests that says what it is told to, over a Unix socket or TCP, and notes down who asked what. */
import { mkdtempSync, rmSync } from "node:fs";
import {
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";

export interface RecordedCall {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  readonly request: Buffer;
  readonly at: number;
}

/** What a method does: sends this and stays open, or ends with a status. */
export type Answer =
  | { readonly message: Buffer; readonly end?: boolean }
  | { readonly status: number }
  | { readonly silent: true };

export const grpcFrame = (message: Buffer, compressed = 0): Buffer => {
  const head = Buffer.alloc(5);
  head[0] = compressed;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
};

export class FakeWorkloadApi {
  readonly calls: RecordedCall[] = [];
  readonly #server = createServer();
  readonly #answers = new Map<string, Answer[]>();
  readonly #open = new Map<string, Set<ServerHttp2Stream>>();
  readonly #sessions = new Set<ServerHttp2Session>();
  #folder: string | undefined;
  endpoint = "";

  static async start(kind: "unix" | "tcp" = "unix", path?: string): Promise<FakeWorkloadApi> {
    const api = new FakeWorkloadApi();
    api.#server.on("session", (session) => {
      api.#sessions.add(session);
      session.on("error", () => {});
      session.on("close", () => api.#sessions.delete(session));
    });
    api.#server.on("stream", (stream: ServerHttp2Stream, headers) => api.#serve(stream, headers));
    if (kind === "tcp") {
      api.#server.listen(0, "127.0.0.1");
      await once(api.#server, "listening");
      api.endpoint = `tcp://127.0.0.1:${(api.#server.address() as AddressInfo).port}`;
    } else {
      const socket = path ?? join((api.#folder = mkdtempSync(join(tmpdir(), "postern-sdk-"))), "api.sock");
      api.#server.listen(socket);
      await once(api.#server, "listening");
      api.endpoint = `unix://${socket}`;
    }
    return api;
  }

  /** The answers to the next calls of a method; the last one stays. */
  answer(method: string, ...answers: readonly Answer[]): this {
    this.#answers.set(method, [...answers]);
    return this;
  }

  /** Sends to every open stream of a method, and answers later ones so. */
  push(method: string, message: Buffer): void {
    this.answer(method, { message });
    for (const stream of this.#open.get(method) ?? []) stream.write(grpcFrame(message));
  }

  /** Ends every open stream of a method. */
  end(method: string, status: number): void {
    for (const stream of this.#open.get(method) ?? []) finish(stream, status);
  }

  callsOf(method: string): RecordedCall[] {
    return this.calls.filter((call) => call.method === method);
  }

  async stop(): Promise<void> {
    for (const session of this.#sessions) session.destroy();
    this.#server.close();
    if (this.#server.listening) await once(this.#server, "close");
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true });
  }

  #serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const method = (headers[":path"] ?? "").split("/").at(-1)!;
    const chunks: Buffer[] = [];
    stream.on("error", () => {});
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      this.calls.push({ method, headers, request: Buffer.concat(chunks).subarray(5), at: Date.now() });
      const left = this.#answers.get(method) ?? [{ status: 12 }];
      this.#give(stream, method, left.length > 1 ? left.shift()! : left[0]!);
    });
  }

  #give(stream: ServerHttp2Stream, method: string, answer: Answer): void {
    if ("silent" in answer) return;
    if ("status" in answer) return finish(stream, answer.status);
    const open = this.#open.get(method) ?? new Set();
    this.#open.set(method, open.add(stream));
    stream.on("close", () => open.delete(stream));
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.write(grpcFrame(answer.message));
    if (answer.end === true) finish(stream, 0);
  }
}

function finish(stream: ServerHttp2Stream, status: number): void {
  if (stream.destroyed) return;
  const trailers = { "grpc-status": String(status), "grpc-message": status === 0 ? "" : "as%20told" };
  if (!stream.headersSent)
    return stream.respond(
      { ":status": 200, "content-type": "application/grpc", ...trailers },
      { endStream: true },
    );
  stream.once("wantTrailers", () => stream.sendTrailers(trailers));
  stream.end();
}
