// SPDX-License-Identifier: Apache-2.0
/** Writes an answer to an agent: head, framing and body, as few writes as there are pieces. */
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import type { AnswerBody, AnswerHead, HeaderList } from "./messages.ts";

/** Pieces up to this many bytes go out together with their framing, copied into one buffer. */
const LARGEST_COPIED = 32_768;

const DONE = Promise.resolve();

/** What the request says about its answer, and the connection about itself. */
export interface AnswerTerms {
  readonly method: string;
  readonly isHttp11: boolean;
  /** Whether the connection can carry another exchange after this answer. */
  readonly keepsAlive: boolean;
  /** Everything was written; `keepsAlive` is false where only closing says that the answer is over. */
  onComplete(keepsAlive: boolean): void;
}

type Mode = "none" | "length" | "chunked" | "until-close";

export class AnswerWriter implements AnswerBody {
  readonly #socket: Duplex;
  readonly #terms: AnswerTerms;
  readonly #mode: Mode;
  readonly #keepsAlive: boolean;
  /** Bytes of the body that the head has announced and that are still to come. */
  #left: number;
  /** The head, until it goes out with the first piece. */
  #head: string;
  #isOver = false;

  constructor(socket: Duplex, head: AnswerHead, terms: AnswerTerms) {
    this.#socket = socket;
    this.#terms = terms;
    const announced = announcedLength(head.headers);
    this.#mode = modeOf(head.status, announced, terms);
    this.#left = announced ?? 0;
    this.#keepsAlive = terms.keepsAlive && this.#mode !== "until-close";
    this.#head = headText(head, this.#mode, this.#keepsAlive, terms.isHttp11);
    // An answer whose first piece is still to come is announced meanwhile.
    queueMicrotask(() => this.#flushHead());
  }

  write(chunk: Buffer): Promise<void> {
    if (this.#isGone()) return Promise.reject(goneAway());
    if (this.#mode === "none" || chunk.length === 0) return DONE;
    if (!this.#fits(chunk)) return Promise.reject(new Error("the answer is longer than announced"));
    const isReady =
      this.#mode === "chunked"
        ? this.#send(`${chunk.length.toString(16)}\r\n`, chunk, "\r\n")
        : this.#send("", chunk, "");
    return isReady ? DONE : this.#drained();
  }

  end(last?: Buffer): Promise<void> {
    if (this.#isGone()) return Promise.reject(goneAway());
    if (last !== undefined && last.length > 0 && this.#mode !== "none") {
      if (!this.#fits(last)) return Promise.reject(new Error("the answer is longer than announced"));
      if (this.#mode === "chunked") this.#send(`${last.length.toString(16)}\r\n`, last, "\r\n0\r\n\r\n");
      else this.#send("", last, "");
    } else if (this.#mode === "chunked") this.#send("0\r\n\r\n", undefined, "");
    else this.#flushHead();
    if (this.#mode === "length" && this.#left > 0) {
      this.#socket.destroy();
      return Promise.reject(new Error("the answer is shorter than announced"));
    }
    this.#isOver = true;
    if (this.#socket.writableLength === 0) {
      this.#terms.onComplete(this.#keepsAlive);
      return DONE;
    }
    return this.#flushed().then(() => this.#terms.onComplete(this.#keepsAlive));
  }

  #isGone(): boolean {
    return this.#socket.destroyed || !this.#socket.writable;
  }

  #fits(chunk: Buffer): boolean {
    if (this.#mode !== "length") return true;
    this.#left -= chunk.length;
    if (this.#left >= 0) return true;
    this.#socket.destroy();
    return false;
  }

  #flushHead(): void {
    if (this.#head === "" || this.#isOver || this.#isGone()) return;
    const head = this.#head;
    this.#head = "";
    this.#socket.write(head, "latin1");
  }

  /** False where the agent reads more slowly than is written. */
  #send(before: string, chunk: Buffer | undefined, after: string): boolean {
    const prefix = this.#head + before;
    this.#head = "";
    if (chunk === undefined) return this.#socket.write(prefix, "latin1");
    if (chunk.length > LARGEST_COPIED) {
      this.#socket.cork();
      if (prefix !== "") this.#socket.write(prefix, "latin1");
      let isReady = this.#socket.write(chunk);
      if (after !== "") isReady = this.#socket.write(after, "latin1");
      this.#socket.uncork();
      return isReady;
    }
    if (prefix === "" && after === "") return this.#socket.write(chunk);
    const all = Buffer.allocUnsafe(prefix.length + chunk.length + after.length);
    all.write(prefix, 0, "latin1");
    chunk.copy(all, prefix.length);
    all.write(after, prefix.length + chunk.length, "latin1");
    return this.#socket.write(all);
  }

  #drained(): Promise<void> {
    return this.#until((settle) => this.#socket.once("drain", settle));
  }

  #flushed(): Promise<void> {
    return this.#until((settle) => this.#socket.write("", () => settle()));
  }

  #until(wait: (settle: () => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        this.#socket.off("close", settle);
        this.#socket.off("drain", settle);
        if (this.#socket.destroyed) reject(goneAway());
        else resolve();
      };
      this.#socket.once("close", settle);
      wait(settle);
    });
  }
}

const goneAway = (): Error => new Error("agent went away");

function announcedLength(headers: HeaderList): number | undefined {
  const value = headers.find(([name]) => name === "content-length")?.[1];
  return value === undefined ? undefined : Number(value);
}

function modeOf(status: number, announced: number | undefined, { method, isHttp11 }: AnswerTerms): Mode {
  // An answer to HEAD has the headers of a body and no body (RFC 9110 §9.3.2).
  if (method === "HEAD" || status === 204 || status === 304 || status < 200) return "none";
  if (announced !== undefined) return "length";
  return isHttp11 ? "chunked" : "until-close";
}

function headText(
  { status, headers }: AnswerHead,
  mode: Mode,
  keepsAlive: boolean,
  isHttp11: boolean,
): string {
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}\r\n`;
  let hasDate = false;
  for (const [name, value] of headers) {
    // Upstreams' headers were read by a strict parser; this is the last door in front of the wire.
    if (NOT_IN_HEADERS.test(name) || NOT_IN_HEADERS.test(value))
      throw new Error("a header holds a control character");
    if (name === "date") hasDate = true;
    text += `${name}: ${value}\r\n`;
  }
  if (!hasDate) text += `date: ${dateNow()}\r\n`;
  if (mode === "chunked") text += "transfer-encoding: chunked\r\n";
  if (!keepsAlive) text += "connection: close\r\n";
  else if (!isHttp11) text += "connection: keep-alive\r\n";
  return `${text}\r\n`;
}

const NOT_IN_HEADERS = /[^\t\x20-\x7e\x80-\xff]/;

let dateText = "";
let dateSecond = 0;

/** RFC 9110 §6.6.1; written once a second. */
function dateNow(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = new Date(second * 1000).toUTCString();
  }
  return dateText;
}
