// SPDX-License-Identifier: Apache-2.0
/**
 * Reads BER (X.690 §8), which the metadata service of AWS writes: lengths may be indefinite, and octet strings in parts.
 *
 * Throws `BerError` on what is no BER; bounded in depth and number of values, by the caller in size.
 */

export class BerError extends Error {}

export interface BerValue {
  /** The identifier octet; tags above 30 are not read. */
  readonly tag: number;
  /** Of a constructed value. */
  readonly children: readonly BerValue[];
  /** Of a primitive value. */
  readonly content: Buffer;
  /** Identifier, length and content, as they stand. */
  readonly whole: Buffer;
  readonly isIndefinite: boolean;
}

const MOST_DEPTH = 16;
const MOST_VALUES = 500;
const CONSTRUCTED = 0x20;
const OCTET_STRING = 0x04;

/** The one value that `bytes` are. */
export function readBer(bytes: Buffer): BerValue {
  const reader = new Reader(bytes);
  const value = reader.value(0, bytes.length, 0);
  if (value.whole.length !== bytes.length) throw new BerError("more bytes than the value has");
  return value;
}

/** An octet string, or the parts of one (§8.7.3). */
export function octetsOf(value: BerValue): Buffer {
  if (value.tag === OCTET_STRING) return value.content;
  if (value.tag !== (OCTET_STRING | CONSTRUCTED)) throw new BerError("expected an octet string");
  return Buffer.concat(value.children.map(octetsOf));
}

class Reader {
  readonly #bytes: Buffer;
  #values = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  value(start: number, limit: number, depth: number): BerValue {
    if (++this.#values > MOST_VALUES || depth > MOST_DEPTH) throw new BerError("too many values");
    const tag = this.#at(start, limit);
    if ((tag & 0x1f) === 0x1f) throw new BerError("a tag above 30");
    const isConstructed = (tag & CONSTRUCTED) !== 0;
    const { from, length } = this.#length(start + 1, limit);
    if (length === undefined) {
      if (!isConstructed) throw new BerError("a primitive value of indefinite length");
      return this.#indefinite(tag, start, from, limit, depth);
    }
    const end = from + length;
    if (end > limit) throw new BerError("a value is longer than what holds it");
    return {
      tag,
      children: isConstructed ? this.#children(from, end, depth) : [],
      content: isConstructed ? Buffer.alloc(0) : this.#bytes.subarray(from, end),
      whole: this.#bytes.subarray(start, end),
      isIndefinite: false,
    };
  }

  #children(from: number, end: number, depth: number): BerValue[] {
    const children: BerValue[] = [];
    for (let at = from; at < end;) {
      const child = this.value(at, end, depth + 1);
      children.push(child);
      at += child.whole.length;
    }
    return children;
  }

  /** §8.1.3.6: up to two zero octets in the place of a value. */
  #indefinite(tag: number, start: number, from: number, limit: number, depth: number): BerValue {
    const children: BerValue[] = [];
    let at = from;
    while (this.#at(at, limit) !== 0) {
      const child = this.value(at, limit, depth + 1);
      children.push(child);
      at += child.whole.length;
    }
    if (this.#at(at + 1, limit) !== 0) throw new BerError("an end that is none");
    const whole = this.#bytes.subarray(start, at + 2);
    return { tag, children, content: Buffer.alloc(0), whole, isIndefinite: true };
  }

  /** Undefined for an indefinite length. */
  #length(at: number, limit: number): { length: number | undefined; from: number } {
    const first = this.#at(at, limit);
    if (first < 0x80) return { length: first, from: at + 1 };
    if (first === 0x80) return { length: undefined, from: at + 1 };
    const count = first & 0x7f;
    if (count > 3 || at + 1 + count > limit) throw new BerError("a length that cannot be");
    return { length: this.#bytes.readUIntBE(at + 1, count), from: at + 1 + count };
  }

  #at(at: number, limit: number): number {
    if (at >= limit) throw new BerError("the end comes too early");
    return this.#bytes[at]!;
  }
}
