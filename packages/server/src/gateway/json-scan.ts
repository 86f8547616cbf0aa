// SPDX-License-Identifier: Apache-2.0
/**
 * Is this text JSON (RFC 8259), and where in it does what stand?
 *
 * Nothing is built: a body of millions of values costs its bytes and no memory, and other agents get their turn in
 * between.
 */
import { isUtf8 } from "node:buffer";
import { setImmediate as nextTurn } from "node:timers/promises";

/** Deeper nesting than this is no request of any known API, and breaks parsers that recurse. */
const DEEPEST = 256;
/** Bytes that are read before others get their turn. */
const SLICE = 262_144;
/** In bytes. */
const LONGEST_NUMBER = 4096;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;

const LITERALS = ["true", "false", "null"].map((word) => Buffer.from(word));
const ESCAPED = new Set(Array.from('"\\/bfnrt', (character) => character.charCodeAt(0)));

/** What may come next. */
type Expected = "value" | "value-or-end" | "key" | "key-or-end" | "colon" | "comma-or-end" | "nothing";

/** Reads a text from its beginning to its end and tells what it meets; a subclass says what it makes of that. */
export abstract class JsonScan {
  readonly #json: Buffer;
  readonly #isObject: boolean[] = [];
  #at = 0;
  /** Where this slice ends. */
  #stop = 0;
  /** Set while a string is being read: what it is. */
  #reading: "key" | "value" | undefined;
  /** Where it began. */
  #from = 0;
  #expected: Expected = "value";

  constructor(json: Buffer) {
    this.#json = json;
  }

  /** Containers that are open. */
  protected get depth(): number {
    return this.#isObject.length;
  }

  /** A key has been read, quotes included, of the innermost object. */
  protected abstract onKey(start: number, end: number): void;
  /** A value begins, of which `byte` is the first. */
  protected abstract onValue(start: number, byte: number): void;
  /** The value that began last and has not ended yet has ended. */
  protected abstract onEnd(end: number): void;

  /** What a key says that stands there, quotes included. */
  protected keyAt(start: number, end: number): string {
    const text = this.#json.toString("utf8", start + 1, end - 1);
    return text.includes("\\") ? (JSON.parse(`"${text}"`) as string) : text;
  }

  /** Reads about `bytes` more. */
  run(bytes: number): "more" | "done" | "invalid" {
    this.#stop = this.#at + bytes;
    while (this.#at < this.#stop) {
      const byte = this.#json[this.#at];
      if (this.#reading !== undefined) {
        if (byte === undefined || !this.#restOfString()) return "invalid";
        continue;
      }
      if (byte === undefined) return this.#expected === "nothing" ? "done" : "invalid";
      if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) this.#at++;
      else if (!this.#token(byte)) return "invalid";
    }
    return "more";
  }

  #token(byte: number): boolean {
    switch (this.#expected) {
      case "key-or-end":
        return byte === CLOSE_OBJECT ? this.#close() : this.#key(byte);
      case "key":
        return this.#key(byte);
      case "colon":
        this.#at++;
        this.#expected = "value";
        return byte === COLON;
      case "value-or-end":
        return byte === CLOSE_ARRAY ? this.#close() : this.#anyValue(byte);
      case "value":
        return this.#anyValue(byte);
      case "comma-or-end":
        return this.#afterValue(byte);
      case "nothing":
        return false;
    }
  }

  #key(byte: number): boolean {
    return byte === QUOTE && this.#string("key");
  }

  #anyValue(byte: number): boolean {
    this.onValue(this.#at, byte);
    if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) return this.#open(byte === OPEN_OBJECT);
    if (byte === QUOTE) return this.#string("value");
    if (!this.#scalar()) return false;
    this.#valueEnded();
    return true;
  }

  #open(isObject: boolean): boolean {
    if (this.#isObject.length >= DEEPEST) return false;
    this.#isObject.push(isObject);
    this.#at++;
    this.#expected = isObject ? "key-or-end" : "value-or-end";
    return true;
  }

  #close(): boolean {
    this.#isObject.pop();
    this.#at++;
    this.#valueEnded();
    return true;
  }

  #valueEnded(): void {
    this.onEnd(this.#at);
    this.#expected = this.#isObject.length === 0 ? "nothing" : "comma-or-end";
  }

  #afterValue(byte: number): boolean {
    const isObject = this.#isObject.at(-1) === true;
    if (byte === (isObject ? CLOSE_OBJECT : CLOSE_ARRAY)) return this.#close();
    this.#at++;
    this.#expected = isObject ? "key" : "value";
    return byte === COMMA;
  }

  /** From the opening quote on; the closing one may stand in a later slice. */
  #string(what: "key" | "value"): boolean {
    this.#from = this.#at++;
    this.#reading = what;
    return this.#restOfString();
  }

  #stringEnded(): void {
    const what = this.#reading;
    this.#reading = undefined;
    if (what !== "key") return this.#valueEnded();
    this.onKey(this.#from, this.#at);
    this.#expected = "colon";
  }

  #restOfString(): boolean {
    const json = this.#json;
    const end = Math.min(json.length, this.#stop);
    let at = this.#at;
    for (; at < end; at++) {
      const byte = json[at]!;
      if (byte === QUOTE) {
        this.#at = at + 1;
        this.#stringEnded();
        return true;
      }
      if (byte < 0x20) return false;
      if (byte !== BACKSLASH) continue;
      at++;
      if (json[at] === 0x75) {
        if (!/^[0-9A-Fa-f]{4}$/.test(json.toString("latin1", at + 1, at + 5))) return false;
        at += 4;
      } else if (!ESCAPED.has(json[at] ?? 0)) return false;
    }
    this.#at = at;
    return true;
  }

  /** A number or `true`, `false`, `null`. */
  #scalar(): boolean {
    for (const literal of LITERALS) {
      const end = this.#at + literal.length;
      if (end <= this.#json.length && this.#json.compare(literal, 0, literal.length, this.#at, end) === 0) {
        this.#at = end;
        return true;
      }
    }
    let end = this.#at;
    while (end < this.#json.length && NUMBER_BYTE[this.#json[end]!] === 1) end++;
    if (end - this.#at > LONGEST_NUMBER) return false;
    if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(this.#json.toString("latin1", this.#at, end)))
      return false;
    this.#at = end;
    return true;
  }
}

/** As parsers do that fold more than ASCII, such as Go's: `ſ` (U+017F) is an `s` to them, and U+212A a `k`. */
export const folded = (key: string): string => key.toUpperCase().toLowerCase();

const NUMBER_BYTE = new Uint8Array(256);
for (const character of "+-.0123456789eE") NUMBER_BYTE[character.charCodeAt(0)] = 1;

/** Whether `json` is JSON; what the scan has met is in it. At once where the text is short. */
export function scanWhole(json: Buffer, scan: JsonScan): boolean | Promise<boolean> {
  if (!isUtf8(json)) return false;
  const status = scan.run(SLICE);
  return status === "more" ? inSlices(scan) : status === "done";
}

async function inSlices(scan: JsonScan): Promise<boolean> {
  for (let status = scan.run(SLICE); status !== "done"; status = scan.run(SLICE)) {
    if (status === "invalid") return false;
    // The slices are read one after the other.
    // oxlint-disable-next-line no-await-in-loop
    await nextTurn();
  }
  return true;
}
