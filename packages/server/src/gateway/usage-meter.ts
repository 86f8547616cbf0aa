// SPDX-License-Identifier: Apache-2.0
/** Reads what an answer says of its own usage, from JSON or from each event of a stream, as it passes. */
import type { Profile } from "../profiles/profile.ts";

/** A JSON answer larger than this is not parsed for usage. */
const LARGEST_JSON = 1_048_576;
const LARGEST_EVENT = 262_144;
/** More tokens than any answer can have: such a report is none. */
const MOST_BELIEVED = 1_000_000_000;

export class UsageMeter {
  readonly #pointers: Profile["usage"];
  readonly #isStream: boolean;
  readonly #isJson: boolean;
  readonly #counters: Record<string, number> = {};
  #pending: Buffer[] = [];
  #size = 0;
  /** Pointers to text that streams by; undefined where nobody wants to know how much that is. */
  readonly #text: readonly (readonly string[])[] | undefined;
  #textBytes = 0;
  #isWhole = false;

  constructor(profile: Profile, contentType: string, countsText = false) {
    this.#pointers = profile.usage;
    this.#text = countsText
      ? profile.metering?.text.map((pointer) => pointer.slice(1).split("/"))
      : undefined;
    this.#isStream = contentType.startsWith("text/event-stream");
    this.#isJson = /^application\/([\w.-]+\+)?json/.test(contentType);
  }

  feed(chunk: Buffer): void {
    if (this.#isStream) this.#feedEvents(chunk);
    else if (this.#isJson && this.#size <= LARGEST_JSON) this.#keep(chunk);
  }

  /** Counters that were reported, or undefined where none was. */
  finish(): Readonly<Record<string, number>> | undefined {
    if (this.#isStream) this.#readLine(Buffer.concat(this.#pending));
    else if (this.#isJson && this.#size > 0 && this.#size <= LARGEST_JSON)
      this.#readJson(Buffer.concat(this.#pending));
    this.#pending = [];
    return Object.keys(this.#counters).length === 0 ? undefined : this.#counters;
  }

  /** Bytes of output in the events of a stream. */
  get textBytes(): number {
    return this.#textBytes;
  }

  /** A JSON answer was read to its end; of a stream nobody can say that here. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  #keep(chunk: Buffer): void {
    this.#size += chunk.length;
    if (this.#size <= LARGEST_JSON) this.#pending.push(chunk);
    else this.#pending = [];
  }

  #feedEvents(chunk: Buffer): void {
    let from = 0;
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, from)) {
      // Of an event that is too long nothing is read: not its end either, as if that were an event.
      if (this.#size + end - from <= LARGEST_EVENT)
        this.#readLine(Buffer.concat([...this.#pending, chunk.subarray(from, end)]));
      this.#pending = [];
      this.#size = 0;
      from = end + 1;
    }
    this.#size += chunk.length - from;
    if (this.#size <= LARGEST_EVENT) this.#pending.push(chunk.subarray(from));
    else this.#pending = [];
  }

  #readLine(line: Buffer): void {
    // Most events report nothing: only those that can are parsed.
    if (line.subarray(0, 5).toString("latin1") !== "data:") return;
    if (this.#text === undefined && !/usage/i.test(line.toString("latin1"))) return;
    this.#readJson(line.subarray(5));
  }

  #readJson(bytes: Buffer): void {
    let value: unknown;
    try {
      value = JSON.parse(bytes.toString("utf8"));
    } catch {
      return;
    }
    // Gemini without SSE streams an array of answers: the last one has the totals.
    const last: unknown = Array.isArray(value) ? value.at(-1) : value;
    if (this.#isStream) for (const path of this.#text ?? []) this.#textBytes += sizeAt(value, path);
    else this.#isWhole = true;
    for (const [counter, pointers] of Object.entries(this.#pointers)) {
      for (const pointer of pointers) {
        const found = pointer.slice(1).split("/").reduce(member, last);
        if (typeof found !== "number" || !Number.isInteger(found)) continue;
        // Of several reports the largest: providers repeat themselves with what it has come to, and do not take back.
        if (found >= 0 && found <= MOST_BELIEVED)
          this.#counters[counter] = Math.max(found, this.#counters[counter] ?? 0);
      }
    }
  }
}

const member = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;

/** Bytes of the text at a pointer, or of the JSON where it is none; of all places that `*` leads to. */
function sizeAt(value: unknown, path: readonly string[]): number {
  const [step, ...rest] = path;
  if (step === undefined) {
    if (typeof value === "string") return Buffer.byteLength(value);
    return typeof value === "object" && value !== null ? Buffer.byteLength(JSON.stringify(value)) : 0;
  }
  if (step !== "*") return sizeAt(member(value, step), rest);
  if (!Array.isArray(value)) return 0;
  let sum = 0;
  for (const each of value) sum += sizeAt(each, rest);
  return sum;
}
