// SPDX-License-Identifier: Apache-2.0
/** Speaks HTTP/1.1 to an upstream over one connection that the dialer has opened and verified: one request at a time. */
import type { TLSSocket } from "node:tls";
import { Fault } from "../../kernel/fault.ts";
import type { Ending } from "../ending.ts";
import { AnswerReader } from "./answer-reader.ts";
import type { UpgradeAnswer, UpstreamAnswer, UpstreamRequest } from "./messages.ts";

/** Times in milliseconds. LLM answers may start late, so the wait for headers is long. */
export interface OutboundLimits {
  readonly headersTimeout: number;
  readonly bodyIdleTimeout: number;
}

export const DEFAULT_OUTBOUND_LIMITS: OutboundLimits = { headersTimeout: 600_000, bodyIdleTimeout: 300_000 };

/** How long a connection may wait for its next request where the upstream does not say, in milliseconds. */
const IDLE_TIMEOUT = 4000;
/** The upstream's own word is taken this much shorter, and no longer than this. */
const IDLE_MARGIN = 1000;
const LONGEST_IDLE = 60_000;
/** Bodies up to this many bytes go out in one write with the head. */
const LARGEST_COPIED = 65_536;

interface Exchange {
  readonly reader: AnswerReader;
  readonly answer: PromiseWithResolvers<UpgradeAnswer>;
  readonly onFree: () => void;
  readonly forget: () => void;
  isSent: boolean;
}

export class OutboundConnection {
  readonly #socket: TLSSocket;
  readonly #limits: OutboundLimits;
  #current: Exchange | undefined;
  #deadline = Number.POSITIVE_INFINITY;
  #idleTimeout = IDLE_TIMEOUT;
  #isClosed = false;

  constructor(socket: TLSSocket, limits: OutboundLimits = DEFAULT_OUTBOUND_LIMITS) {
    this.#socket = socket;
    this.#limits = limits;
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("close", () => this.#fail(broken("the upstream closed the connection")));
    socket.on("error", (error: NodeJS.ErrnoException) =>
      this.#fail(broken(`the connection to the upstream failed (${error.code ?? "unknown"})`)),
    );
  }

  get isClosed(): boolean {
    return this.#isClosed || this.#socket.destroyed;
  }

  close(): void {
    this.#fail(broken("the connection to the upstream was closed"));
  }

  /** Nothing is asked of it for now; it closes by itself when that lasts. */
  rest(): void {
    this.#deadline = performance.now() + this.#idleTimeout;
  }

  /** Ends what takes longer than it may. */
  checkTime(now: number): void {
    if (now < this.#deadline) return;
    this.#fail(new Fault("upstream_timeout", "the upstream did not answer in time"));
  }

  /** `onFree` is called once, when the answer was read to its end and the connection can be used again. */
  send(request: UpstreamRequest, ending: Ending, onFree: () => void): Promise<UpgradeAnswer> {
    return this.#exchange(request, false, ending, onFree);
  }

  /** The same for a request that asks for another protocol. */
  upgrade(request: UpstreamRequest, ending: Ending, onFree: () => void): Promise<UpgradeAnswer> {
    return this.#exchange(request, true, ending, onFree);
  }

  #exchange(
    request: UpstreamRequest,
    mayUpgrade: boolean,
    ending: Ending,
    onFree: () => void,
  ): Promise<UpgradeAnswer> {
    if (this.#current !== undefined || this.isClosed)
      return Promise.reject(broken("the connection to the upstream is closed"));
    const answer = Promise.withResolvers<UpgradeAnswer>();
    const reader = new AnswerReader(request.method, mayUpgrade, {
      // While the agent does not read, the upstream is not silent.
      pause: () => {
        this.#deadline = Number.POSITIVE_INFINITY;
        this.#socket.pause();
      },
      resume: () => {
        this.#deadline = performance.now() + this.#limits.bodyIdleTimeout;
        this.#socket.resume();
      },
      discard: () => this.close(),
    });
    const forget = ending.onOver(() => this.close());
    // Ending may be over already.
    if (this.isClosed) return Promise.reject(broken("the exchange was over before it began"));
    this.#current = { reader, answer, onFree, forget, isSent: false };
    this.#deadline = performance.now() + this.#limits.headersTimeout;
    this.#write(request);
    return answer.promise;
  }

  #write(request: UpstreamRequest): void {
    const { body } = request;
    const streamed = body !== undefined && !Buffer.isBuffer(body);
    const isChunked = streamed && !request.headers.some(([name]) => name === "content-length");
    let head = `${request.method} ${request.target} HTTP/1.1\r\n`;
    if (NOT_IN_TARGET.test(request.target)) return this.#fail(UNWRITABLE);
    for (const [name, value] of request.headers) {
      if (NOT_IN_HEADERS.test(value) || NOT_IN_HEADERS.test(name)) return this.#fail(UNWRITABLE);
      head += `${name}: ${value}\r\n`;
    }
    head += isChunked ? "transfer-encoding: chunked\r\n\r\n" : "\r\n";
    if (streamed) {
      this.#socket.write(head, "latin1");
      return void this.#stream(body, isChunked, request);
    }
    this.#writeWhole(head, body);
    this.#sent();
  }

  #writeWhole(head: string, body: Buffer | undefined): void {
    if (body === undefined || body.length === 0) return void this.#socket.write(head, "latin1");
    if (body.length > LARGEST_COPIED) {
      this.#socket.write(head, "latin1");
      return void this.#socket.write(body);
    }
    const all = Buffer.allocUnsafe(head.length + body.length);
    all.write(head, 0, "latin1");
    body.copy(all, head.length);
    this.#socket.write(all);
  }

  /** What the body's own source throws, such as a placeholder found in it, ends the exchange with that word. */
  async #stream(body: AsyncIterable<Buffer>, isChunked: boolean, request: UpstreamRequest): Promise<void> {
    const announced = Number(request.headers.find(([name]) => name === "content-length")?.[1] ?? 0);
    let left = announced;
    try {
      for await (const piece of body) {
        if (this.isClosed) return;
        if (piece.length === 0) continue;
        left -= piece.length;
        this.#deadline = performance.now() + this.#limits.headersTimeout;
        if (!isChunked && left < 0) throw broken("the body is longer than announced");
        if (!(isChunked ? this.#writeChunk(piece) : this.#socket.write(piece))) await this.#drained();
      }
      if (!isChunked && left !== 0) throw broken("the body is shorter than announced");
      if (isChunked) this.#socket.write("0\r\n\r\n", "latin1");
      this.#sent();
    } catch (error) {
      this.#fail(error instanceof Fault ? error : broken("the body of the request broke off"));
    }
  }

  #writeChunk(piece: Buffer): boolean {
    this.#socket.cork();
    this.#socket.write(`${piece.length.toString(16)}\r\n`, "latin1");
    this.#socket.write(piece);
    const isReady = this.#socket.write("\r\n", "latin1");
    this.#socket.uncork();
    return isReady;
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const settle = (): void => {
        this.#socket.off("drain", settle);
        this.#socket.off("close", settle);
        resolve();
      };
      this.#socket.once("drain", settle);
      this.#socket.once("close", settle);
    });
  }

  #sent(): void {
    const current = this.#current;
    if (current === undefined) return;
    current.isSent = true;
    if (current.reader.isDone) this.#finish(current);
  }

  readonly #onData = (data: Buffer): void => {
    const current = this.#current;
    // Nothing was asked: whatever this is, it would be taken for the next answer.
    if (current === undefined) return this.close();
    const hadHead = current.reader.answer !== undefined;
    const problem = current.reader.read(data);
    if (problem !== undefined) return this.#fail(broken(`the upstream's answer is malformed: ${problem}`));
    const { answer } = current.reader;
    if (answer !== undefined && !hadHead) {
      if (current.reader.upgraded !== undefined)
        return this.#handOver(current, answer, current.reader.upgraded);
      this.#noteIdleTimeout(answer);
      current.answer.resolve({ answer });
    }
    if (answer !== undefined && !this.#socket.isPaused())
      this.#deadline = performance.now() + this.#limits.bodyIdleTimeout;
    if (current.reader.isDone && current.isSent) this.#finish(current);
  };

  /** From here on the socket belongs to the other protocol. */
  #handOver(current: Exchange, answer: UpstreamAnswer, first: Buffer): void {
    this.#current = undefined;
    this.#isClosed = true;
    this.#deadline = Number.POSITIVE_INFINITY;
    current.forget();
    this.#socket.off("data", this.#onData);
    this.#socket.off("end", this.#onEnd);
    this.#socket.pause();
    if (first.length > 0) this.#socket.unshift(first);
    current.answer.resolve({ answer, stream: this.#socket });
  }

  readonly #onEnd = (): void => {
    const current = this.#current;
    if (current !== undefined && current.reader.endOfConnection()) this.#finish(current);
    this.#fail(broken("the upstream closed the connection before the end of its answer"));
  };

  #finish(current: Exchange): void {
    this.#current = undefined;
    current.forget();
    if (!current.reader.keepsAlive || this.#isClosed) return this.close();
    this.rest();
    current.onFree();
  }

  #fail(fault: Fault): void {
    const current = this.#current;
    this.#current = undefined;
    this.#isClosed = true;
    this.#socket.destroy();
    if (current === undefined) return;
    current.forget();
    current.reader.fail(fault);
    current.answer.reject(fault);
  }

  /** `Keep-Alive: timeout=N` is how long the upstream waits: a request sent later meets a closed door. */
  #noteIdleTimeout({ headers }: UpstreamAnswer): void {
    const hint = headers.find(([name]) => name === "keep-alive")?.[1];
    const seconds = hint === undefined ? undefined : /(?:^|,)\s*timeout=([0-9]{1,6})/i.exec(hint)?.[1];
    if (seconds === undefined) return;
    this.#idleTimeout = Math.min(LONGEST_IDLE, Math.max(0, Number(seconds) * 1000 - IDLE_MARGIN));
  }
}

const NOT_IN_HEADERS = /[^\t\x20-\x7e\x80-\xff]/;
const NOT_IN_TARGET = /[^\x21-\x7e]/;

const UNWRITABLE = new Fault("injection_failed", "the request cannot be written");

/** Nothing of what was sent or received is repeated. */
const broken = (detail: string): Fault => new Fault("upstream_failed", detail);
