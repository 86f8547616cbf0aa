// SPDX-License-Identifier: Apache-2.0
/** Reads requests of agents with Node's strict HTTP/1.1 parser and hands them on as `Exchange`s. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { AnswerBody, AnswerHead, Entrance, Exchange, HeaderList } from "./messages.ts";

/** Limits on what an agent may send; sizes in bytes, times in milliseconds. */
export interface InboundLimits {
  readonly headerBytes: number;
  readonly headersTimeout: number;
  readonly requestTimeout: number;
  readonly idleTimeout: number;
}

export interface ConnectRequest {
  /** Authority-form target of the CONNECT. */
  readonly target: string;
  readonly headers: HeaderList;
}

interface Listeners {
  exchange(exchange: Exchange, socket: Duplex): void;
  connect(request: ConnectRequest, socket: Duplex, head: Buffer): void;
  /** A request that the parser refused. */
  malformed(detail: string, socket: Duplex): void;
}

/** Requests that may wait for the one before them to be answered (RFC 9112 §9.3.2); hardly a client sends two. */
const MOST_WAITING = 8;

/** One request of a connection at a time: whoever sends without waiting costs itself time, not the gateway memory. */
class RequestQueue {
  readonly #waiting: (() => void)[] = [];
  #isOver = false;
  isBusy = false;

  /** False once, when too many wait; everything after that is ignored, as the connection ends. */
  add(start: () => void): boolean {
    if (this.#isOver) return true;
    if (!this.isBusy) {
      this.isBusy = true;
      start();
    } else if (this.#waiting.length < MOST_WAITING) this.#waiting.push(start);
    else {
      this.#isOver = true;
      this.#waiting.length = 0;
      return false;
    }
    return true;
  }

  answered(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.isBusy = false;
    else next();
  }
}

/** Feed it connections with `accept`. */
export class InboundCodec {
  readonly #server: Server;
  readonly #entrances = new WeakMap<Duplex, Entrance>();
  readonly #queues = new WeakMap<Duplex, RequestQueue>();

  constructor(limits: InboundLimits, listeners: Listeners) {
    this.#server = createServer({
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersTimeout,
      requestTimeout: limits.requestTimeout,
      // How often the two are looked at; Node's own half minute would double the first.
      connectionsCheckingInterval: Math.ceil(limits.headersTimeout / 6),
      keepAliveTimeout: limits.idleTimeout,
      // A missing Host is refused by the first stage, in words and with a line in the log.
      requireHostHeader: false,
      insecureHTTPParser: false,
      rejectNonStandardBodyWrites: true,
      noDelay: true,
    });
    // Node drops what is beyond its own limit unseen: the count is checked by the first stage instead.
    this.#server.maxHeadersCount = 0;
    // An agent may say that it has nothing more to send, and still wait for its answer.
    Object.assign(this.#server, { httpAllowHalfOpen: true });
    // Timeouts are watched from the moment a server listens, and this one is handed its connections.
    this.#server.emit("listening");
    this.#server.on("request", (incoming, response) => {
      const entrance = this.#entrances.get(incoming.socket);
      if (entrance === undefined) return void incoming.destroy();
      const { socket } = incoming;
      const queue = this.#queueOf(socket);
      const start = (): void => {
        // Who has gone while it waited gets no answer, and nothing leaves in its name.
        if (socket.destroyed) return;
        response.once("close", () => queue.answered());
        listeners.exchange(exchangeOf(incoming, response, entrance), socket);
      };
      if (queue.add(start)) return;
      listeners.malformed("more requests came than may wait for their answers", socket);
      // At once: whoever goes on sending would fill the memory with requests that are never served.
      socket.destroy();
    });
    this.#server.on("connect", (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
      // The answer in front of it would go into the tunnel as if it came from there.
      if (this.#queueOf(socket).isBusy)
        return listeners.malformed("a CONNECT came before the request in front of it was answered", socket);
      if (this.#entrances.get(socket)?.kind !== "door")
        return listeners.malformed("a CONNECT came inside a tunnel", socket);
      listeners.connect({ target: incoming.url ?? "", headers: pairs(incoming.rawHeaders) }, socket, head);
    });
    // Node would take an unknown expectation for 417 with an empty body; the stages refuse it in words.
    this.#server.on("checkExpectation", (incoming, response) => {
      this.#server.emit("request", incoming, response);
    });
    this.#server.on("clientError", (error: NodeJS.ErrnoException, socket: Duplex) => {
      listeners.malformed(parserComplaint(error), socket);
    });
  }

  #queueOf(socket: Duplex): RequestQueue {
    const known = this.#queues.get(socket);
    if (known !== undefined) return known;
    const queue = new RequestQueue();
    this.#queues.set(socket, queue);
    return queue;
  }

  /** Starts reading requests from a connection. */
  accept(socket: Duplex, entrance: Entrance): void {
    this.#entrances.set(socket, entrance);
    this.#server.emit("connection", socket);
  }
}

function pairs(rawHeaders: readonly string[]): HeaderList {
  const list: [string, string][] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) list.push([rawHeaders[i]!, rawHeaders[i + 1]!]);
  return list;
}

function exchangeOf(incoming: IncomingMessage, response: ServerResponse, entrance: Entrance): Exchange {
  const gone = new AbortController();
  response.once("close", () => {
    if (!response.writableFinished) gone.abort();
  });
  return {
    request: {
      method: incoming.method ?? "",
      target: incoming.url ?? "",
      headers: pairs(incoming.rawHeaders),
      body: incoming,
    },
    entrance,
    gone: gone.signal,
    startAnswer: (head) => answerBody(response, head, incoming),
    destroy: () => void response.destroy(),
  };
}

function answerBody(response: ServerResponse, head: AnswerHead, incoming: IncomingMessage): AnswerBody {
  // An unread rest of the request would be taken for the next request: such a connection is not reused.
  if (!incoming.complete) response.setHeader("connection", "close");
  for (const [name, value] of head.headers) response.appendHeader(name, value);
  response.writeHead(head.status);
  response.flushHeaders();
  return {
    // An answer to HEAD has the headers of a body and no body (RFC 9110 §9.3.2).
    write: (chunk) =>
      incoming.method === "HEAD" ? Promise.resolve() : whenWritable(response, response.write(chunk)),
    end: () =>
      new Promise((resolve, reject) => {
        response.once("close", () => reject(new Error("agent went away")));
        response.end(resolve);
        if (!incoming.complete) incoming.resume();
      }),
  };
}

function whenWritable(response: ServerResponse, isReady: boolean): Promise<void> {
  if (response.destroyed) return Promise.reject(new Error("agent went away"));
  if (isReady) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      response.off("drain", settle);
      response.off("close", settle);
      if (response.destroyed) reject(new Error("agent went away"));
      else resolve();
    };
    response.on("drain", settle);
    response.on("close", settle);
  });
}

/** Says what the parser disliked without repeating what was sent. */
function parserComplaint(error: NodeJS.ErrnoException): string {
  const code = error.code ?? "";
  if (code === "HPE_HEADER_OVERFLOW") return "the header is larger than the limit";
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return "the request did not arrive in time";
  if (code.startsWith("HPE_")) return `not one unambiguous HTTP/1.1 request (${code})`;
  return "the connection broke";
}
