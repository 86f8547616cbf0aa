// SPDX-License-Identifier: Apache-2.0
/**
 * gRPC over HTTP/2 as a client of the Workload API needs it: one request message, then any number of answers
 * (gRPC over HTTP2, "Requests", "Responses"). One connection, made anew when it is gone.
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
} from "node:http2";
import { connect } from "node:net";
import type { Endpoint } from "./endpoint.ts";
import { SpiffeError } from "./spiffe-error.ts";

/** Codes of gRPC that a client treats in a way of their own. */
export const STATUS = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
} as const;

const FRAME_HEADER = 5;
/** A bundle of hundreds of authorities has a tenth of it. */
const MOST_MESSAGE_BYTES = 8_388_608;
/** "HTTP2 status to gRPC status", for answers of what is no gRPC server. */
const OF_HTTP: ReadonlyMap<number, number> = new Map([
  [400, STATUS.internal],
  [401, 16],
  [403, STATUS.permissionDenied],
  [404, STATUS.unimplemented],
  [429, STATUS.unavailable],
  [502, STATUS.unavailable],
  [503, STATUS.unavailable],
  [504, STATUS.unavailable],
]);

const failed = (status: number, message: string, cause?: unknown): SpiffeError =>
  new SpiffeError("workload_api", `the Workload API failed (gRPC status ${status}): ${message}`, {
    status,
    cause,
  });

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds; absent for a stream that has no end. */
  readonly timeout?: number;
}

export class GrpcClient {
  readonly #endpoint: Endpoint;
  #session: ClientHttp2Session | undefined;
  #isClosed = false;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  /** Resolves when the server has ended the call with status 0; what `onMessage` throws ends it too. */
  stream(
    method: string,
    request: Buffer,
    onMessage: (message: Buffer) => void,
    options: CallOptions = {},
  ): Promise<void> {
    if (this.#isClosed) return Promise.reject(new SpiffeError("closed", "this client is closed"));
    if (options.signal?.aborted === true)
      return Promise.reject(failed(STATUS.cancelled, "the caller gave up", options.signal.reason));
    const { timeout } = options;
    const stream = this.#connection().request({
      ":method": "POST",
      ":path": `/SpiffeWorkloadAPI/${method}`,
      "content-type": "application/grpc",
      te: "trailers",
      "user-agent": "postern-sdk-node",
      // Workload Endpoint §3: shows that nobody was talked into this request.
      "workload.spiffe.io": "true",
      ...(timeout === undefined ? {} : { "grpc-timeout": `${timeout}m` }),
    });
    const done = outcome(stream, onMessage, options);
    const framed = Buffer.alloc(FRAME_HEADER + request.length);
    framed.writeUInt32BE(request.length, 1);
    request.copy(framed, FRAME_HEADER);
    stream.end(framed);
    return done;
  }

  /** A call with exactly one answer. */
  async unary(method: string, request: Buffer, options: CallOptions): Promise<Buffer> {
    const messages: Buffer[] = [];
    await this.stream(method, request, (message) => void messages.push(message), options);
    const [message] = messages;
    if (message === undefined || messages.length > 1)
      throw new SpiffeError("response_invalid", `${method}: expected one answer, got ${messages.length}`);
    return message;
  }

  close(): void {
    this.#isClosed = true;
    this.#session?.destroy();
  }

  #connection(): ClientHttp2Session {
    const open = this.#session;
    if (open !== undefined && !open.closed && !open.destroyed) return open;
    const endpoint = this.#endpoint;
    // The authority is the same for every transport: servers on sockets do not know their own name.
    const session = connectHttp2("http://localhost", {
      createConnection: () =>
        endpoint.kind === "unix" ? connect(endpoint.path) : connect(endpoint.port, endpoint.host),
      settings: { enablePush: false },
    });
    const drop = (): void => {
      if (this.#session === session) this.#session = undefined;
    };
    // Each call has its own error; without a listener this one would end the process.
    session.on("error", drop);
    session.on("goaway", drop);
    session.on("close", drop);
    this.#session = session;
    return session;
  }
}

/** Reads a call to its end. */
function outcome(
  stream: ClientHttp2Stream,
  onMessage: (message: Buffer) => void,
  options: CallOptions,
): Promise<void> {
  const { signal, timeout } = options;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const abort = (): void => stop(failed(STATUS.cancelled, "the caller gave up", signal?.reason));
  const late =
    timeout === undefined
      ? undefined
      : setTimeout(() => stop(failed(STATUS.deadlineExceeded, `no answer in ${timeout} ms`)), timeout);
  const settle = (problem?: unknown): void => {
    clearTimeout(late);
    signal?.removeEventListener("abort", abort);
    if (problem === undefined) resolve();
    else reject(problem);
  };
  const stop = (problem: unknown): void => {
    settle(problem);
    stream.close(constants.NGHTTP2_CANCEL);
  };
  const messages = new MessageReader(onMessage);
  let status: Ending | undefined;
  signal?.addEventListener("abort", abort);
  stream.on("error", (cause: Error) => settle(failed(STATUS.unavailable, cause.message, cause)));
  stream.on("response", (headers) => {
    const httpStatus = headers[":status"] ?? 0;
    if (httpStatus !== 200)
      return stop(failed(OF_HTTP.get(httpStatus) ?? STATUS.unknown, `HTTP status ${httpStatus}`));
    if (!/^application\/grpc([+;]|$)/.test(headers["content-type"] ?? ""))
      return stop(failed(STATUS.unknown, "the answer is not gRPC"));
    // "Trailers-Only": the status stands with the headers.
    status = endingOf(headers);
  });
  stream.on("trailers", (trailers) => (status = endingOf(trailers) ?? status));
  stream.on("data", (chunk: Buffer) => {
    try {
      messages.push(chunk);
    } catch (error) {
      stop(error);
    }
  });
  stream.on("close", () => {
    if (status === undefined) return settle(failed(STATUS.unavailable, "the connection ended"));
    if (status.code !== STATUS.ok) return settle(failed(status.code, status.message));
    settle(messages.isWhole ? undefined : failed(STATUS.internal, "the last message is cut off"));
  });
  return promise;
}

interface Ending {
  readonly code: number;
  readonly message: string;
}

function endingOf(
  headers: Readonly<Record<string, string | readonly string[] | number | undefined>>,
): Ending | undefined {
  const code = headers["grpc-status"];
  if (code === undefined) return undefined;
  const message = headers["grpc-message"];
  const isCode = typeof code === "string" && /^\d{1,3}$/.test(code);
  return {
    code: isCode ? Number(code) : STATUS.unknown,
    message: typeof message === "string" ? decoded(message) : "",
  };
}

/** "Status-Message": percent-encoded; what cannot be decoded is shown as it is. For people only. */
function decoded(message: string): string {
  try {
    return decodeURIComponent(message).slice(0, 1000);
  } catch {
    return message.slice(0, 1000);
  }
}

/** "Length-Prefixed-Message", one after the other. */
class MessageReader {
  readonly #onMessage: (message: Buffer) => void;
  #chunks: Buffer[] = [];
  #size = 0;

  constructor(onMessage: (message: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  get isWhole(): boolean {
    return this.#size === 0;
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    for (let length = this.#next(); length !== undefined; length = this.#next()) {
      const bytes = this.#joined();
      const message = bytes.subarray(FRAME_HEADER, FRAME_HEADER + length);
      this.#chunks = [bytes.subarray(FRAME_HEADER + length)];
      this.#size = bytes.length - FRAME_HEADER - length;
      this.#onMessage(message);
    }
  }

  /** The length of the next message, where all of it is there. */
  #next(): number | undefined {
    if (this.#size < FRAME_HEADER) return undefined;
    const head = this.#chunks[0]!.length >= FRAME_HEADER ? this.#chunks[0]! : this.#joined();
    if (head[0] !== 0)
      throw new SpiffeError("response_invalid", "a compressed message, which was not asked for");
    const length = head.readUInt32BE(1);
    if (length > MOST_MESSAGE_BYTES) throw new SpiffeError("response_invalid", "a message too large");
    return this.#size >= FRAME_HEADER + length ? length : undefined;
  }

  #joined(): Buffer {
    const bytes = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#chunks = [bytes];
    return bytes;
  }
}
