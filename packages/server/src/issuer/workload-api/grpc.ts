// SPDX-License-Identifier: Apache-2.0
/**
 * gRPC over HTTP/2 as a server of calls with one request message needs it (gRPC over HTTP2, "Requests", "Responses").
 *
 * Whatever a peer sends, it can end its own call or connection, and nothing else.
 */
import {
  constants,
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import { faultFields, type Log } from "../../kernel/log.ts";
import { AuthorityShim } from "./authority-shim.ts";

/** Codes of gRPC that are used here. */
export const STATUS = {
  ok: 0,
  invalidArgument: 3,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
} as const;
export type Status = (typeof STATUS)[keyof typeof STATUS];

/** The end of a call with another status than `ok`; the message is for the peer. */
export class CallError extends Error {
  readonly status: Status;
  /** A `google.rpc.Status` that says more. */
  readonly details: Buffer | undefined;

  constructor(status: Status, message: string, details?: Buffer) {
    super(message);
    this.status = status;
    this.details = details;
  }
}

/** One call, from the moment that its request is there. */
export interface Call {
  readonly headers: IncomingHttpHeaders;
  /** Of a method that takes one message. */
  readonly request: Buffer;
  /**
   * For a method that takes several: each in turn. Resolves when the peer has said its last, rejects where one is malformed or
   * `take` throws.
   */
  messages(take: (message: Buffer) => void): Promise<void>;
  readonly isEnded: boolean;
  /** Sends one message; false where the peer has not taken the earlier ones yet. */
  send(message: Buffer): boolean;
  end(status: Status, message?: string, details?: Buffer): void;
  /** When the peer is ready for more, and when the call is over, for whatever reason. */
  onReady(listener: () => void): void;
  onEnd(listener: () => void): void;
}

/** What serves a call; what it throws ends it. */
export type Method<Peer> = (call: Call, peer: Peer) => Promise<void> | void;

const MOST_REQUEST_BYTES = 65_536;
/** How long a peer may take until its request is complete. */
const REQUEST_TIME = 10_000;
const MOST_STREAMS = 100;
const FRAME_HEADER = 5;
const CONTENT_TYPE = /^application\/grpc(\+proto)?(;|$)/;
const RESPONSE_HEADERS = { ":status": 200, "content-type": "application/grpc" };

const SESSION_OPTIONS = {
  maxSessionMemory: 8,
  maxHeaderListPairs: 64,
  settings: { maxConcurrentStreams: MOST_STREAMS, maxHeaderListSize: 16_384, enablePush: false },
};

export class GrpcServer<Peer> {
  readonly #methods: ReadonlyMap<string, Method<Peer>>;
  readonly #streaming: ReadonlyMap<string, Method<Peer>>;
  readonly #connections = new Set<AuthorityShim>();
  readonly #log: Log;

  /** By path, such as `/SpiffeWorkloadAPI/FetchX509SVID`; those of `streaming` take several messages. */
  constructor(
    methods: ReadonlyMap<string, Method<Peer>>,
    log: Log,
    streaming: ReadonlyMap<string, Method<Peer>> = new Map(),
  ) {
    this.#methods = methods;
    this.#streaming = streaming;
    this.#log = log;
  }

  /** Takes over a socket on which nothing was read yet. */
  accept(socket: Socket, peer: Peer): void {
    const shim = new AuthorityShim(socket);
    this.#connections.add(shim);
    // Errors show as the end of the connection; without a listener one of them would end the process.
    shim.on("error", () => {});
    const session = performServerHandshake(shim, SESSION_OPTIONS);
    const late = setTimeout(() => shim.destroy(), REQUEST_TIME);
    session.on("error", () => session.destroy());
    session.on("stream", (stream, headers) => {
      clearTimeout(late);
      this.#serve(stream, headers, peer);
    });
    shim.once("close", () => {
      clearTimeout(late);
      session.destroy();
      this.#connections.delete(shim);
    });
  }

  close(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  #serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, peer: Peer): void {
    const call = new Http2Call(stream, headers);
    if (headers[":method"] !== "POST" || !CONTENT_TYPE.test(headers["content-type"] ?? ""))
      return call.refuse(headers[":method"] === "POST" ? 415 : 405);
    const path = headers[":path"] ?? "";
    const streaming = this.#streaming.get(path);
    const method = streaming ?? this.#methods.get(path);
    if (method === undefined) return call.end(STATUS.unimplemented, "there is no such method");
    const run = async (): Promise<void> => {
      if (streaming === undefined) await call.receive();
      if (!call.isEnded) await method(call, peer);
    };
    run().catch((error: unknown) => {
      if (error instanceof CallError) return call.end(error.status, error.message, error.details);
      this.#log.write("error", "workload API call failed", faultFields(error));
      call.end(STATUS.internal, "the server failed; its log says more");
    });
  }
}

class Http2Call implements Call {
  readonly headers: IncomingHttpHeaders;
  readonly #stream: ServerHttp2Stream;
  request: Buffer = Buffer.alloc(0);
  #isEnded = false;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders) {
    this.#stream = stream;
    this.headers = headers;
    stream.on("error", () => {});
    stream.on("close", () => (this.#isEnded = true));
  }

  get isEnded(): boolean {
    return this.#isEnded || this.#stream.destroyed;
  }

  /** Reads the one message of the request. */
  receive(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const chunks: Buffer[] = [];
    let size = 0;
    const late = setTimeout(
      () => reject(new CallError(STATUS.invalidArgument, "the request did not come in time")),
      REQUEST_TIME,
    );
    this.#stream.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > MOST_REQUEST_BYTES)
        return reject(new CallError(STATUS.resourceExhausted, "the request is too large"));
      chunks.push(chunk);
    });
    this.#stream.once("end", () => {
      const problem = messageProblem(Buffer.concat(chunks));
      if (problem !== undefined) return reject(problem);
      this.request = Buffer.concat(chunks).subarray(FRAME_HEADER);
      resolve();
    });
    this.#stream.once("close", () => resolve());
    return promise.finally(() => clearTimeout(late));
  }

  messages(take: (message: Buffer) => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let chunks: Buffer[] = [];
    let size = 0;
    let needed = FRAME_HEADER;
    const late = setTimeout(
      () => reject(new CallError(STATUS.invalidArgument, "the request did not come in time")),
      REQUEST_TIME,
    );
    // Joined only where there is enough for the next step: a message may come in pieces of one byte.
    const read = (chunk: Buffer): void => {
      chunks.push(chunk);
      size += chunk.length;
      while (size >= needed) {
        const bytes = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
        const end = FRAME_HEADER + bytes.readUInt32BE(1);
        if (end > FRAME_HEADER + MOST_REQUEST_BYTES)
          throw new CallError(STATUS.resourceExhausted, "the request is too large");
        chunks = [bytes];
        needed = end;
        if (size < end) return;
        const problem = messageProblem(bytes.subarray(0, end));
        if (problem !== undefined) throw problem;
        clearTimeout(late);
        take(bytes.subarray(FRAME_HEADER, end));
        chunks = size === end ? [] : [bytes.subarray(end)];
        size -= end;
        needed = FRAME_HEADER;
      }
    };
    this.#stream.on("data", (chunk: Buffer) => {
      try {
        if (!this.isEnded) read(chunk);
      } catch (error) {
        this.#stream.pause();
        reject(error);
      }
    });
    this.#stream.once("end", resolve);
    this.#stream.once("close", resolve);
    return promise.finally(() => clearTimeout(late));
  }

  send(message: Buffer): boolean {
    if (this.isEnded) return true;
    this.#begin();
    const framed = Buffer.allocUnsafe(FRAME_HEADER + message.length);
    framed[0] = 0;
    framed.writeUInt32BE(message.length, 1);
    message.copy(framed, FRAME_HEADER);
    return this.#stream.write(framed);
  }

  #begin(): void {
    if (this.#stream.headersSent) return;
    this.#stream.respond(RESPONSE_HEADERS, { waitForTrailers: true });
    this.#stream.once("wantTrailers", () => {
      this.#stream.sendTrailers(this.#trailers);
      this.#letGo();
    });
  }

  #trailers: Record<string, string> = {};

  end(status: Status, message = "", details?: Buffer): void {
    if (this.isEnded) return;
    this.#isEnded = true;
    this.#trailers = {
      "grpc-status": String(status),
      // "Status-Message": percent-encoded, so that it stays one line of ASCII.
      ...(message === "" ? {} : { "grpc-message": encodeURIComponent(message).replaceAll("%20", " ") }),
      ...(details && { "grpc-status-details-bin": details.toString("base64").replaceAll("=", "") }),
    };
    // Status and headers together where nothing was sent yet ("Trailers-Only").
    if (this.#stream.headersSent) return void this.#stream.end();
    this.#stream.respond({ ...RESPONSE_HEADERS, ...this.#trailers }, { endStream: true });
    this.#letGo();
  }

  /** RFC 9113 §8.1: a peer that has more to say is told that nobody listens. */
  #letGo(): void {
    if (!this.#stream.readableEnded) setImmediate(() => this.#stream.close(constants.NGHTTP2_NO_ERROR));
  }

  /** An answer to what is not gRPC at all. */
  refuse(httpStatus: number): void {
    if (this.isEnded) return;
    this.#isEnded = true;
    this.#stream.respond({ ":status": httpStatus }, { endStream: true });
  }

  onReady(listener: () => void): void {
    this.#stream.on("drain", listener);
  }

  onEnd(listener: () => void): void {
    if (this.#stream.destroyed) listener();
    else this.#stream.once("close", listener);
  }
}

/** "Length-Prefixed-Message": exactly one, not compressed. */
function messageProblem(bytes: Buffer): CallError | undefined {
  if (bytes.length < FRAME_HEADER || bytes.readUInt32BE(1) !== bytes.length - FRAME_HEADER)
    return new CallError(STATUS.invalidArgument, "the request is not one whole message");
  return bytes[0] === 0 ? undefined : new CallError(STATUS.unimplemented, "compression is not supported");
}
