// SPDX-License-Identifier: Apache-2.0
/** One connection of an agent: requests in, one at a time, answers out (RFC 9112 §9.3). */
import type { Duplex } from "node:stream";
import { BodyDecoder } from "./body-decoder.ts";
import { BodyQueue } from "./body-queue.ts";
import { readRequestHead, type RequestHead } from "./message-head.ts";
import type { Entrance, Exchange, HeaderList } from "./messages.ts";
import { OpenRequest } from "./open-request.ts";

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

export interface InboundListeners {
  exchange(exchange: Exchange, socket: Duplex): void;
  connect(request: ConnectRequest, socket: Duplex, head: Buffer): void;
  /** Something that is no request; the connection carries nothing more. */
  malformed(detail: string, socket: Duplex): void;
}

const END_OF_HEAD = Buffer.from("\r\n\r\n", "latin1");
const NOTHING: Buffer = Buffer.alloc(0);
/** How long the end of a connection waits for the agent to read it, in milliseconds. */
const LINGER = 5000;

/** What the deadline is for; it says what happens when it passes. */
type Waiting = "for-request" | "within-request" | "for-close" | "for-answer";

export class InboundConnection {
  readonly #socket: Duplex;
  readonly #entrance: Entrance;
  readonly #limits: InboundLimits;
  readonly #listeners: InboundListeners;
  readonly #onGone: () => void;
  /** Bytes that came and were not read yet. */
  #pending = NOTHING;
  /** How much of them was searched for the end of the head. */
  #searched = 0;
  /** Whether an empty line was read over in front of the request to come. */
  #hasForgiven = false;
  /** Whether the request to come was begun before the answer in front of it. */
  #isAhead = false;
  #current: OpenRequest | undefined;
  /** Reads the current request's body, until it is complete. */
  #decoder: BodyDecoder | undefined;
  #isPaused = false;
  #hasPeerEnded = false;
  /** Nothing is read any more: it was refused, handed over, or is closing. */
  #isOver = false;
  #waiting: Waiting = "for-request";
  #deadline: number;

  constructor(
    socket: Duplex,
    entrance: Entrance,
    limits: InboundLimits,
    listeners: InboundListeners,
    onGone: () => void,
  ) {
    this.#socket = socket;
    this.#entrance = entrance;
    this.#limits = limits;
    this.#listeners = listeners;
    this.#onGone = onGone;
    this.#deadline = performance.now() + limits.idleTimeout;
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("close", this.#onClose);
    // Peers vanish at any moment; that the connection closes is all there is to know.
    socket.on("error", () => socket.destroy());
  }

  /** Ends what takes longer than it may. */
  checkTime(now: number): void {
    if (this.#waiting === "for-answer" || now < this.#deadline) return;
    if (this.#waiting !== "within-request") return void this.#socket.destroy();
    this.#refuse("the request did not arrive in time");
  }

  readonly #onData = (data: Buffer): void => {
    if (this.#isOver) return;
    if (this.#decoder !== undefined) return this.#readBody(data);
    this.#pending = this.#pending.length === 0 ? data : Buffer.concat([this.#pending, data]);
    if (this.#current === undefined) return this.#readHead();
    // Sent without waiting for the answer: as much is kept as a head may have, the rest waits in the network.
    if (this.#pending.length > this.#limits.headerBytes) this.#pause();
  };

  readonly #onEnd = (): void => {
    this.#hasPeerEnded = true;
    if (this.#isOver) return void this.#socket.end();
    if (this.#decoder !== undefined || (this.#current === undefined && this.#pending.length > 0))
      return this.#refuse("the connection ended within a request");
    // An agent may say that it has nothing more to send, and still wait for its answer.
    if (this.#current === undefined) this.#close();
    else this.#current.leave();
  };

  readonly #onClose = (): void => {
    this.#isOver = true;
    this.#current?.lose();
    this.#onGone();
  };

  #readHead(): void {
    // One empty line in front of a request is forgiven (RFC 9112 §2.2), whichever part of it came first.
    if (!this.#hasForgiven && this.#searched === 0 && this.#pending[0] === 0x0d) {
      if (this.#pending.length === 1) return;
      this.#hasForgiven = this.#pending[1] === 0x0a;
      if (this.#hasForgiven) this.#pending = this.#pending.subarray(2);
    }
    if (this.#pending.length === 0) return;
    if (this.#waiting === "for-request") this.#wait("within-request", this.#limits.headersTimeout);
    const end = this.#pending.indexOf(END_OF_HEAD, Math.max(0, this.#searched - 3));
    const length = end === -1 ? this.#pending.length : end;
    if (length > this.#limits.headerBytes) return this.#refuse("the header is larger than the limit");
    if (end === -1) return this.#waitForHead();
    const head = readRequestHead(this.#pending.toString("latin1", 0, end));
    this.#pending = this.#pending.subarray(end + END_OF_HEAD.length);
    this.#searched = 0;
    this.#hasForgiven = false;
    if (!head.ok) return this.#refuse(`not one unambiguous HTTP/1.1 request: ${head.reason}`);
    if (head.value.method === "CONNECT") this.#connect(head.value);
    else this.#begin(head.value);
  }

  /** What can never become a request is refused now, not when its time is over. */
  #waitForHead(): void {
    const fresh = this.#pending.toString("latin1", Math.max(0, this.#searched - 1));
    this.#searched = this.#pending.length;
    if (/[^\r]\n/.test(fresh))
      return this.#refuse("not one unambiguous HTTP/1.1 request: a line ends in a bare line feed");
    if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(this.#pending.toString("latin1", 0, 1)))
      this.#refuse("not one unambiguous HTTP/1.1 request: it does not start with a method");
  }

  #begin(head: RequestHead): void {
    const decoder = new BodyDecoder(head.framing);
    this.#decoder = decoder.isDone ? undefined : decoder;
    const body = new BodyQueue({
      begin: () => this.#askForBody(head),
      resume: () => this.#resume(),
      abandon: () => this.#resume(),
    });
    const current = new OpenRequest(this.#socket, head, this.#entrance, body, {
      isComplete: () => this.#decoder === undefined,
      onAnswered: (keepsAlive) => this.#answered(keepsAlive),
      release: () => this.#release(),
    });
    this.#current = current;
    if (this.#decoder === undefined) {
      body.end();
      this.#wait("for-answer", 0);
    } else {
      this.#deadline += this.#limits.requestTimeout - this.#limits.headersTimeout;
      const rest = this.#pending;
      this.#pending = NOTHING;
      if (rest.length > 0) this.#readBody(rest);
      // It may have turned out to be broken already.
      if (this.#isOver) return;
    }
    this.#listeners.exchange(current, this.#socket);
  }

  /** RFC 9110 §10.1.1: who waits for a word before sending the body gets it when somebody reads. */
  #askForBody({ isHttp11, headers }: RequestHead): void {
    if (this.#decoder === undefined || this.#isOver || !isHttp11) return;
    if (headers.some(([name, value]) => name === "expect" && value.toLowerCase() === "100-continue"))
      this.#socket.write("HTTP/1.1 100 Continue\r\n\r\n", "latin1");
  }

  #readBody(data: Buffer): void {
    const decoder = this.#decoder!;
    const { body } = this.#current!;
    const pieces: Buffer[] = [];
    const end = decoder.read(data, 0, (piece) => pieces.push(piece));
    // Many small chunks become one piece: each piece costs more than a byte.
    const piece = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
    const hasRoom = body.push(piece);
    if (!end.ok) return this.#refuse(`not one unambiguous HTTP/1.1 request: ${end.reason}`);
    if (!decoder.isDone) {
      if (!hasRoom) this.#pause();
      return;
    }
    this.#decoder = undefined;
    if (end.value < data.length) this.#pending = data.subarray(end.value);
    this.#wait("for-answer", 0);
    body.end();
  }

  #connect(head: RequestHead): void {
    // The agent cannot tell the answer in front of it from what comes out of the tunnel.
    if (this.#isAhead) return this.#refuse("a CONNECT came before the request in front of it was answered");
    if (this.#entrance.kind === "tunnel") return this.#refuse("a CONNECT came inside a tunnel");
    if (head.framing.kind !== "none") return this.#refuse("a CONNECT has a body");
    const rest = this.#release();
    this.#listeners.connect({ target: head.target, headers: head.headers }, this.#socket, rest);
  }

  #answered(keepsAlive: boolean): void {
    const current = this.#current;
    this.#current = undefined;
    // An unread rest of the request would be taken for the next one: such a connection ends.
    const isRead = this.#decoder === undefined;
    if (!isRead) current?.body.fail(new Error("the answer came before the end of the request"));
    this.#decoder = undefined;
    if (!isRead || !keepsAlive || this.#hasPeerEnded || this.#isOver) return this.#close();
    this.#wait("for-request", this.#limits.idleTimeout);
    this.#resume();
    this.#isAhead = this.#pending.length > 0;
    if (this.#isAhead) this.#readHead();
  }

  /** Says that nothing more comes, and gives the agent time to read what came. */
  #close(): void {
    this.#isOver = true;
    this.#resume();
    this.#socket.end();
    if (this.#hasPeerEnded) return;
    this.#wait("for-close", LINGER);
  }

  #refuse(detail: string): void {
    const current = this.#current;
    this.#isOver = true;
    this.#current = undefined;
    this.#decoder = undefined;
    this.#resume();
    this.#wait("for-close", LINGER);
    if (current?.isAnswering === true) this.#socket.destroy();
    else this.#listeners.malformed(detail, this.#socket);
    current?.lose();
  }

  /** Lets go of the connection; gives the bytes that were not read yet. */
  #release(): Buffer {
    const rest = this.#pending;
    this.#isOver = true;
    this.#pending = NOTHING;
    this.#current = undefined;
    this.#socket.off("data", this.#onData);
    this.#socket.off("end", this.#onEnd);
    this.#socket.off("close", this.#onClose);
    this.#socket.pause();
    this.#onGone();
    return rest;
  }

  #wait(waiting: Waiting, milliseconds: number): void {
    this.#waiting = waiting;
    this.#deadline = performance.now() + milliseconds;
  }

  #pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#socket.resume();
  }
}
