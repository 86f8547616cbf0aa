// SPDX-License-Identifier: Apache-2.0
/** Takes the body of a message out of the bytes of its connection, however they are split (RFC 9112 §6–7). Pure. */
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { type Complaint, type Framing, readTrailers } from "./message-head.ts";

/** Longest line with a chunk's size, extensions included; they are read over (RFC 9112 §7.1.1). */
const LONGEST_SIZE_LINE = 1024;
/** All extensions of one body together: nobody uses them, so many are an attack. */
const MOST_EXTENSION_BYTES = 16_384;
const LONGEST_TRAILERS = 16_384;

/** Without the white space that RFC 9112 §7.1.1 lets a recipient read over: some take it for the end of the number, some do not. */
const SIZE_LINE =
  /^([0-9A-Fa-f]{1,12})((?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"[\x20\x21\x23-\x5b\x5d-\x7e]*"))?)*)$/;

type State = "data" | "size" | "data-end" | "trailers" | "done";

export class BodyDecoder {
  readonly #isChunked: boolean;
  readonly #isUntilClose: boolean;
  #state: State;
  /** Bytes of this chunk, or of the body, that are still to come. */
  #left: number;
  /** The beginning of a line whose end has not come yet. */
  #line = "";
  #trailers = "";
  #extensionBytes = 0;

  constructor(framing: Framing) {
    this.#isChunked = framing.kind === "chunked";
    this.#isUntilClose = framing.kind === "until-close";
    this.#left = framing.kind === "length" ? framing.length : 0;
    this.#state = firstState(framing);
  }

  get isDone(): boolean {
    return this.#state === "done";
  }

  /** Whether the body may end with the connection; otherwise a part of it is missing. */
  get mayEndHere(): boolean {
    return this.#isUntilClose || this.isDone;
  }

  /** Gives the body's bytes in `data` from `from` on to `take`; returns the place of the first byte that is not part of it. */
  read(data: Buffer, from: number, take: (piece: Buffer) => void): Result<number, Complaint> {
    let at = from;
    while (at < data.length && this.#state !== "done") {
      const next = this.#state === "data" ? ok(this.#data(data, at, take)) : this.#readLine(data, at);
      if (!next.ok) return next;
      at = next.value;
    }
    return ok(at);
  }

  #data(data: Buffer, at: number, take: (piece: Buffer) => void): number {
    if (this.#isUntilClose) {
      take(at === 0 ? data : data.subarray(at));
      return data.length;
    }
    const end = Math.min(data.length, at + this.#left);
    take(at === 0 && end === data.length ? data : data.subarray(at, end));
    this.#left -= end - at;
    if (this.#left === 0) this.#state = this.#isChunked ? "data-end" : "done";
    return end;
  }

  #readLine(data: Buffer, at: number): Result<number, Complaint> {
    const feed = data.indexOf(0x0a, at);
    const end = feed === -1 ? data.length : feed + 1;
    const longest = this.#state === "size" ? LONGEST_SIZE_LINE : LONGEST_TRAILERS;
    if (this.#line.length + end - at > longest) return refuse("a line within the chunks is too long");
    this.#line += data.toString("latin1", at, end);
    if (feed === -1) return ok(end);
    if (!this.#line.endsWith("\r\n")) return refuse("a line within the chunks ends in a bare line feed");
    const line = this.#line.slice(0, -2);
    this.#line = "";
    const problem = this.#take(line);
    return problem === undefined ? ok(end) : refuse(problem);
  }

  #take(line: string): Complaint | undefined {
    if (this.#state === "size") return this.#size(line);
    if (this.#state === "data-end") {
      this.#state = "size";
      return line === "" ? undefined : "a chunk is longer than its size says";
    }
    return this.#trailer(line);
  }

  #size(line: string): Complaint | undefined {
    const match = SIZE_LINE.exec(line);
    if (match === null) return "the size of a chunk is not one hexadecimal number";
    this.#extensionBytes += match[2]!.length;
    if (this.#extensionBytes > MOST_EXTENSION_BYTES) return "the chunks carry too many extensions";
    this.#left = Number.parseInt(match[1]!, 16);
    this.#state = this.#left === 0 ? "trailers" : "data";
    return undefined;
  }

  #trailer(line: string): Complaint | undefined {
    if (line !== "") {
      this.#trailers += this.#trailers === "" ? line : `\r\n${line}`;
      return this.#trailers.length > LONGEST_TRAILERS ? "the trailers are too long" : undefined;
    }
    this.#state = "done";
    const read = readTrailers(this.#trailers);
    return read.ok ? undefined : read.reason;
  }
}

function firstState({ kind }: Framing): State {
  if (kind === "none") return "done";
  return kind === "chunked" ? "size" : "data";
}
