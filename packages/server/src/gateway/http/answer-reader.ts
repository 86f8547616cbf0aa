// SPDX-License-Identifier: Apache-2.0
/** Reads one answer of an upstream out of the bytes of its connection. */
import type { Fault } from "../../kernel/fault.ts";
import { BodyDecoder } from "./body-decoder.ts";
import { BodyQueue } from "./body-queue.ts";
import { type AnswerHeadRead, type Complaint, readAnswerHead } from "./message-head.ts";
import type { UpstreamAnswer } from "./messages.ts";

const END_OF_HEAD = Buffer.from("\r\n\r\n", "latin1");
const LONGEST_HEAD = 65_536;
/** Interim answers in front of the real one (RFC 9110 §15.2); more is an upstream that never answers. */
const MOST_INTERIM = 32;

interface Flow {
  pause(): void;
  resume(): void;
  /** The rest of the answer will not be read. */
  discard(): void;
}

export class AnswerReader {
  readonly #method: string;
  readonly #mayUpgrade: boolean;
  readonly #flow: Flow;
  #pending: Buffer | undefined;
  #searched = 0;
  #interim = 0;
  #head: AnswerHeadRead | undefined;
  #decoder: BodyDecoder | undefined;
  #body: BodyQueue | undefined;
  #answer: UpstreamAnswer | undefined;
  /** Bytes came after the end of the answer: nobody asked for them. */
  #hasSurplus = false;
  #upgraded: Buffer | undefined;

  /** `mayUpgrade` where the request asked for another protocol. */
  constructor(method: string, mayUpgrade: boolean, flow: Flow) {
    this.#method = method;
    this.#mayUpgrade = mayUpgrade;
    this.#flow = flow;
  }

  /** Once its head is there. */
  get answer(): UpstreamAnswer | undefined {
    return this.#answer;
  }

  get isDone(): boolean {
    return this.#decoder?.isDone === true;
  }

  /** After a 101: the first bytes of the other protocol. */
  get upgraded(): Buffer | undefined {
    return this.#upgraded;
  }

  /** Whether the connection may carry another request, once this is done. */
  get keepsAlive(): boolean {
    return this.#head?.keepsAlive === true && !this.#hasSurplus;
  }

  /** Returns what is wrong with the bytes, if anything. */
  read(data: Buffer): Complaint | undefined {
    if (this.#decoder !== undefined) return this.#readBody(data, 0);
    const all = this.#pending === undefined ? data : Buffer.concat([this.#pending, data]);
    this.#pending = undefined;
    return this.#readHead(all, 0);
  }

  /** The connection ended; true where that is the end of the answer. */
  endOfConnection(): boolean {
    if (this.#decoder?.mayEndHere !== true) return false;
    this.#body?.end();
    return true;
  }

  fail(fault: Fault): void {
    this.#body?.fail(fault);
  }

  #readHead(data: Buffer, from: number): Complaint | undefined {
    const end = data.indexOf(END_OF_HEAD, Math.max(from, this.#searched - 3));
    const length = (end === -1 ? data.length : end) - from;
    if (length > LONGEST_HEAD) return "its head is too long";
    if (end === -1) return this.#waitForHead(data.subarray(from));
    this.#searched = 0;
    const head = readAnswerHead(data.toString("latin1", from, end), this.#method);
    if (!head.ok) return head.reason;
    const after = end + END_OF_HEAD.length;
    if (head.value.status === 101 && this.#mayUpgrade) this.#upgraded = data.subarray(after);
    else if (head.value.status < 200) return this.#interimAnswer(head.value, data, after);
    this.#begin(head.value);
    return this.#upgraded === undefined ? this.#readBody(data, after) : undefined;
  }

  #waitForHead(data: Buffer): Complaint | undefined {
    const fresh = data.toString("latin1", Math.max(0, this.#searched - 1));
    this.#searched = data.length;
    this.#pending = data;
    if (!"HTTP/1.".startsWith(data.toString("latin1", 0, 7))) return "it is not HTTP/1.1";
    return /[^\r]\n/.test(fresh) ? "a line ends in a bare line feed" : undefined;
  }

  #interimAnswer({ status }: AnswerHeadRead, data: Buffer, after: number): Complaint | undefined {
    if (status === 101) return "it changes the protocol, and nobody asked for that";
    if (++this.#interim > MOST_INTERIM) return "there are too many interim answers";
    return after < data.length ? this.#readHead(data, after) : undefined;
  }

  #begin(head: AnswerHeadRead): void {
    this.#head = head;
    this.#decoder = new BodyDecoder(head.framing);
    const body = new BodyQueue({
      resume: () => this.#flow.resume(),
      abandon: () => this.#flow.discard(),
    });
    this.#body = body;
    this.#answer = {
      status: head.status,
      headers: head.headers,
      body,
      discard: () => {
        if (!this.isDone) this.#flow.discard();
      },
    };
  }

  #readBody(data: Buffer, from: number): Complaint | undefined {
    const decoder = this.#decoder!;
    const pieces: Buffer[] = [];
    const end = decoder.read(data, from, (piece) => pieces.push(piece));
    // Many small chunks become one piece: each piece costs more than a byte.
    const hasRoom = this.#body!.push(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces));
    if (!end.ok) return end.reason;
    if (decoder.isDone) {
      this.#hasSurplus = end.value < data.length;
      this.#body!.end();
    } else if (!hasRoom) this.#flow.pause();
    return undefined;
  }
}
