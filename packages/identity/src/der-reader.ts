// SPDX-License-Identifier: Apache-2.0
/**
 * Reads DER (X.690 §10), strictly: one encoding for each value, and nothing left over.
 *
 * Throws `DerError` on anything else; `readCertificate` is the edge that turns it into a refusal.
 */

export class DerError extends Error {}

export interface Element {
  readonly tag: number;
  readonly content: Buffer;
  /** With tag and length, as it was signed. */
  readonly whole: Buffer;
}

export class DerReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** The tag of the next element; undefined at the end. */
  get tag(): number | undefined {
    return this.#bytes[this.#at];
  }

  next(expected: number): Element {
    const start = this.#at;
    if (this.tag !== expected) throw new DerError(`expected tag ${expected}, found ${this.tag ?? "the end"}`);
    const { length, from } = this.#lengthAt(start + 1);
    const end = from + length;
    if (end > this.#bytes.length) throw new DerError("an element is longer than what holds it");
    this.#at = end;
    return {
      tag: expected,
      content: this.#bytes.subarray(from, end),
      whole: this.#bytes.subarray(start, end),
    };
  }

  /** The element where it comes next, else nothing. */
  optional(tag: number): Element | undefined {
    return this.tag === tag ? this.next(tag) : undefined;
  }

  /** A reader of the content of the element that comes next. */
  into(expected: number): DerReader {
    return new DerReader(this.next(expected).content);
  }

  end(): void {
    if (!this.isAtEnd) throw new DerError("more bytes than the value has");
  }

  /** §10.1: definite, and in the fewest bytes. */
  #lengthAt(at: number): { length: number; from: number } {
    const first = this.#bytes[at];
    if (first === undefined) throw new DerError("a length is missing");
    if (first < 0x80) return { length: first, from: at + 1 };
    const count = first & 0x7f;
    if (count === 0 || count > 3) throw new DerError("an indefinite or overlong length");
    if (at + 1 + count > this.#bytes.length) throw new DerError("a length is cut off");
    const length = this.#bytes.readUIntBE(at + 1, count);
    const least = count === 1 ? 0x80 : 2 ** (8 * (count - 1));
    if (length < least) throw new DerError("a length in more bytes than it needs");
    return { length, from: at + 1 + count };
  }
}

/** §8.19, as dotted text. */
export function readObjectIdentifier({ content }: Element): string {
  if (content.length === 0 || content.length > 64) throw new DerError("an object identifier of a wrong size");
  const arcs: number[] = [];
  let arc = 0;
  let isInside = false;
  for (const byte of content) {
    if (!isInside && byte === 0x80) throw new DerError("an arc in more bytes than it needs");
    arc = arc * 128 + (byte & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER) throw new DerError("an arc too large");
    isInside = (byte & 0x80) !== 0;
    if (!isInside) [arc] = [0, arcs.push(arc)];
  }
  if (isInside) throw new DerError("an arc is cut off");
  const [head = 0, ...rest] = arcs;
  const first = Math.min(2, Math.floor(head / 40));
  return [first, head - 40 * first, ...rest].join(".");
}

/** §11.1 */
export function readBoolean({ content }: Element): boolean {
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff))
    throw new DerError("a boolean that is neither 0 nor 255");
  return content[0] === 0xff;
}

/** §8.3.2: the bytes of an integer that is not negative, in the fewest bytes. */
export function readUnsigned({ content }: Element): Buffer {
  const [first, second] = content;
  if (first === undefined || (first & 0x80) !== 0) throw new DerError("an integer is empty or negative");
  if (first === 0 && second !== undefined && (second & 0x80) === 0)
    throw new DerError("an integer in more bytes than it needs");
  return first === 0 && content.length > 1 ? content.subarray(1) : content;
}

/** Bits of a named bit list by number, §11.2.2. */
export function readNamedBits(element: Element): ReadonlySet<number> {
  const { unused, bytes } = bitString(element);
  const last = bytes.at(-1);
  if (last !== undefined && ((last >> unused) & 1) === 0)
    throw new DerError("a bit list with zeros at its end");
  const bits = new Set<number>();
  for (const [index, byte] of bytes.entries())
    for (let bit = 0; bit < 8; bit++) if ((byte & (0x80 >> bit)) !== 0) bits.add(8 * index + bit);
  return bits;
}

/** A bit string of whole bytes, such as a signature. */
export function readBitBytes(element: Element): Buffer {
  const { unused, bytes } = bitString(element);
  if (unused !== 0) throw new DerError("a bit string that is not of whole bytes");
  return bytes;
}

function bitString({ content }: Element): { unused: number; bytes: Buffer } {
  const unused = content[0];
  const bytes = content.subarray(1);
  if (unused === undefined || unused > 7 || (unused > 0 && bytes.length === 0))
    throw new DerError("a bit string of a wrong form");
  if (bytes.length > 0 && (bytes.at(-1)! & ((1 << unused) - 1)) !== 0)
    throw new DerError("a bit string with bits set that are not part of it");
  return { unused, bytes };
}
