// SPDX-License-Identifier: Apache-2.0
/** Speaks HTTP/1.1 to an upstream over one connection that the dialer has opened and verified. */
import { Readable } from "node:stream";
import type { TLSSocket } from "node:tls";
import { Client, type Dispatcher } from "undici";
import { Fault } from "../../kernel/fault.ts";
import type { HeaderList, UpstreamAnswer, UpstreamRequest } from "./messages.ts";

/** Times in milliseconds. LLM answers may start late, so the wait for headers is long. */
const HEADERS_TIMEOUT = 600_000;
const BODY_IDLE_TIMEOUT = 300_000;

/** One connection, one request at a time. */
export class OutboundConnection {
  readonly #client: Client;
  #isClosed = false;

  constructor(origin: string, socket: TLSSocket) {
    let isHandedOver = false;
    this.#client = new Client(origin, {
      pipelining: 1,
      allowH2: false,
      headersTimeout: HEADERS_TIMEOUT,
      bodyTimeout: BODY_IDLE_TIMEOUT,
      maxHeaderSize: 65_536,
      // The client must never dial by itself: it gets the verified socket once, and no second one.
      connect: (_options, callback) => {
        if (isHandedOver) return callback(new Error("connection is used up"), null);
        isHandedOver = true;
        // Not at once: the client would not notice a connection made while it is still asking for one.
        queueMicrotask(() => callback(null, socket));
      },
    });
    socket.once("close", () => this.close());
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    void this.#client.destroy().catch(() => {});
  }

  /** `onFree` is called once, when the answer was read to its end and the connection can be used again. */
  send(request: UpstreamRequest, signal: AbortSignal, onFree: () => void): Promise<UpstreamAnswer> {
    return new Promise((resolve, reject) => {
      const receiver = new AnswerReceiver(this, signal, onFree, resolve, reject);
      const body =
        request.body === undefined || Buffer.isBuffer(request.body)
          ? request.body
          : Readable.from(request.body);
      this.#client.dispatch(
        {
          method: request.method,
          path: request.target,
          headers: request.headers.flatMap(([name, value]) => [name, value]),
          body: body ?? null,
        },
        receiver,
      );
    });
  }
}

class AnswerReceiver implements Dispatcher.DispatchHandler {
  readonly #connection: OutboundConnection;
  readonly #signal: AbortSignal;
  readonly #onFree: () => void;
  readonly #resolve: (answer: UpstreamAnswer) => void;
  readonly #reject: (error: unknown) => void;
  #body: Readable | undefined;
  #onAbort: (() => void) | undefined;

  constructor(
    connection: OutboundConnection,
    signal: AbortSignal,
    onFree: () => void,
    resolve: (answer: UpstreamAnswer) => void,
    reject: (error: unknown) => void,
  ) {
    this.#connection = connection;
    this.#signal = signal;
    this.#onFree = onFree;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#onAbort = () => controller.abort(new Error("cancelled"));
    if (this.#signal.aborted) this.#onAbort();
    else this.#signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200) return;
    this.#body = new Readable({
      read: () => controller.resume(),
      // Left unread: the connection holds the rest of the answer and can't be used again.
      destroy: (error, callback) => {
        if (error !== null || !this.#body?.readableEnded) controller.abort(error ?? new Error("cancelled"));
        callback(null);
      },
    });
    this.#body.on("error", () => {});
    const body = this.#body;
    this.#resolve({
      status,
      headers: latin1Pairs(controller.rawHeaders),
      body,
      discard: () => void body.destroy(),
    });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#body?.push(chunk) === false) controller.pause();
  }

  onResponseEnd(): void {
    this.#settle();
    this.#body?.push(null);
    this.#onFree();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#settle();
    this.#connection.close();
    const fault = upstreamFault(error);
    if (this.#body === undefined) this.#reject(fault);
    else this.#body.destroy(fault);
  }

  #settle(): void {
    if (this.#onAbort !== undefined) this.#signal.removeEventListener("abort", this.#onAbort);
  }
}

/** The client's messages may quote what was sent; only its code goes on. */
function upstreamFault(error: Error): Fault {
  // Raised by the request's own body, such as a placeholder found in it.
  if (error instanceof Fault) return error;
  const code = (error as NodeJS.ErrnoException).code ?? error.name;
  if (code === "UND_ERR_HEADERS_TIMEOUT" || code === "UND_ERR_BODY_TIMEOUT")
    return new Fault("upstream_timeout", `the upstream did not answer in time (${code})`);
  if (code === "UND_ERR_INVALID_ARG") return new Fault("injection_failed", "the request cannot be written");
  return new Fault("upstream_failed", `the connection to the upstream failed (${code})`);
}

function latin1Pairs(raw: unknown): HeaderList {
  const list: [string, string][] = [];
  if (!Array.isArray(raw)) return list;
  for (let i = 0; i + 1 < raw.length; i += 2) list.push([text(raw[i]), text(raw[i + 1])]);
  return list;
}

const text = (value: unknown): string => (Buffer.isBuffer(value) ? value.toString("latin1") : String(value));
