// SPDX-License-Identifier: Apache-2.0
/**
 * What does a file in MaxMind's format (MaxMind DB 2.0) say of an address?
 *
 * Only what is asked for is decoded, within bounds: a broken file makes a lookup throw, never run on.
 */
import { parseAddress } from "../../guard/special-purpose-address.ts";

export type MmdbValue =
  string | number | bigint | boolean | Buffer | readonly MmdbValue[] | { readonly [key: string]: MmdbValue };

const METADATA_MARK = Buffer.from("\xab\xcd\xefMaxMind.com", "latin1");
/** "Database Metadata": at most so far from the end. */
const METADATA_SIZE = 131_072;
/** Between the tree and the data. */
const SEPARATOR = 16;
const DEEPEST = 32;
const MOST_VALUES = 5000;

const POINTER = 1;
const TEXT = 2;
const DOUBLE = 3;
const BYTES = 4;
const UINT16 = 5;
const UINT32 = 6;
const MAP = 7;
const INT32 = 8;
const UINT64 = 9;
const UINT128 = 10;
const ARRAY = 11;
const BOOLEAN = 14;
const FLOAT = 15;

export class MmdbReader {
  readonly #bytes: Buffer;
  readonly #nodeCount: number;
  readonly #recordSize: number;
  readonly #dataStart: number;
  readonly #isIpv6: boolean;
  /** The node behind the 96 zero bits below which IPv4 stands in an IPv6 tree. */
  readonly #ipv4Start: number;

  /** @throws {Error} where it is no such file */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    const mark = bytes.lastIndexOf(METADATA_MARK);
    if (mark === -1 || mark < bytes.length - METADATA_SIZE)
      throw new Error("it is no file of MaxMind's format");
    const metadata = new Decoder(bytes, mark + METADATA_MARK.length).value(mark + METADATA_MARK.length);
    const number = (name: string): number => Number(fieldOf(metadata, name) ?? Number.NaN);
    this.#nodeCount = number("node_count");
    this.#recordSize = number("record_size");
    this.#isIpv6 = number("ip_version") === 6;
    if (number("binary_format_major_version") !== 2)
      throw new Error("it is of another version of the format");
    if (![24, 28, 32].includes(this.#recordSize) || !Number.isSafeInteger(this.#nodeCount))
      throw new Error("its records have an unknown size");
    const treeSize = (this.#nodeCount * this.#recordSize) / 4;
    this.#dataStart = treeSize + SEPARATOR;
    if (this.#dataStart > mark) throw new Error("it is cut short");
    this.#ipv4Start = this.#isIpv6 ? this.#descend(0, Buffer.alloc(12)) : 0;
  }

  /** Undefined where nothing is known of the address. */
  get(address: string): MmdbValue | undefined {
    const parsed = parseAddress(address);
    if (parsed === undefined) return undefined;
    const isIpv4 = parsed.kind() === "ipv4";
    if (!isIpv4 && !this.#isIpv6) return undefined;
    const node = this.#descend(isIpv4 ? this.#ipv4Start : 0, Buffer.from(parsed.toByteArray()));
    if (node <= this.#nodeCount) return undefined;
    const offset = this.#dataStart + node - this.#nodeCount - SEPARATOR;
    return new Decoder(this.#bytes, this.#dataStart).value(offset);
  }

  /** Follows the bits of `address` to a record that is no node, or to their end. */
  #descend(start: number, address: Buffer): number {
    let node = start;
    for (let bit = 0; bit < address.length * 8 && node < this.#nodeCount; bit++)
      node = this.#record(node, (address[bit >> 3]! >> (7 - (bit & 7))) & 1);
    return node;
  }

  #record(node: number, side: number): number {
    const bytes = this.#bytes;
    if (this.#recordSize === 28) {
      const at = node * 7;
      const middle = bytes[at + 3]!;
      return side === 0
        ? ((middle & 0xf0) << 20) | bytes.readUIntBE(at, 3)
        : ((middle & 0x0f) << 24) | bytes.readUIntBE(at + 4, 3);
    }
    const size = this.#recordSize / 8;
    return bytes.readUIntBE((node * 2 + side) * size, size);
  }
}

class Decoder {
  readonly #bytes: Buffer;
  readonly #base: number;
  #at = 0;
  #values = 0;

  /** Pointers count from `base`. */
  constructor(bytes: Buffer, base: number) {
    [this.#bytes, this.#base] = [bytes, base];
  }

  value(at: number): MmdbValue {
    this.#at = at;
    return this.#next(0);
  }

  #next(depth: number): MmdbValue {
    if (depth > DEEPEST || ++this.#values > MOST_VALUES) throw new Error("its data has no end");
    const control = this.#uint(1);
    const type = control >> 5;
    if (type === POINTER) return this.#pointed(control, depth);
    const actual = type === 0 ? this.#uint(1) + 7 : type;
    return this.#decoded(actual, this.#size(control & 0x1f), depth);
  }

  #pointed(control: number, depth: number): MmdbValue {
    const size = (control >> 3) & 3;
    const high = size === 3 ? 0 : (control & 7) * 2 ** (8 * (size + 1));
    const offset = this.#uint(size + 1) + high + [0, 2048, 526_336, 0][size]!;
    const back = this.#at;
    this.#at = this.#base + offset;
    const value = this.#next(depth + 1);
    this.#at = back;
    return value;
  }

  #size(bits: number): number {
    if (bits < 29) return bits;
    return this.#uint(bits - 28) + [29, 285, 65_821][bits - 29]!;
  }

  #decoded(type: number, size: number, depth: number): MmdbValue {
    if (type === MAP) return this.#map(size, depth);
    if (type === ARRAY) return this.#array(size, depth);
    if (type === BOOLEAN) return size === 1;
    const bytes = this.#take(size);
    switch (type) {
      case TEXT:
        return bytes.toString("utf8");
      case BYTES:
        return bytes;
      case DOUBLE:
        return bytes.readDoubleBE(0);
      case FLOAT:
        return bytes.readFloatBE(0);
      case UINT16:
      case UINT32:
        return size === 0 ? 0 : bytes.readUIntBE(0, size);
      case INT32:
        return size === 0 ? 0 : size === 4 ? bytes.readInt32BE(0) : bytes.readUIntBE(0, size);
      case UINT64:
      case UINT128:
        return size === 0 ? 0n : BigInt(`0x${bytes.toString("hex")}`);
      default:
        throw new Error(`its data has a value of the unknown type ${type}`);
    }
  }

  #map(size: number, depth: number): MmdbValue {
    const entries: [string, MmdbValue][] = [];
    for (let index = 0; index < size; index++) {
      const key = this.#next(depth + 1);
      if (typeof key !== "string") throw new Error("its data has a key that is no text");
      entries.push([key, this.#next(depth + 1)]);
    }
    return Object.fromEntries(entries);
  }

  #array(size: number, depth: number): MmdbValue {
    const values: MmdbValue[] = [];
    for (let index = 0; index < size; index++) values.push(this.#next(depth + 1));
    return values;
  }

  #uint(size: number): number {
    return this.#take(size).readUIntBE(0, size);
  }

  #take(size: number): Buffer {
    const end = this.#at + size;
    if (end > this.#bytes.length) throw new Error("it is cut short");
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }
}

/** A member of a map; undefined where it is none, or has none of that name. */
export function fieldOf(value: MmdbValue | undefined, name: string): MmdbValue | undefined {
  if (typeof value !== "object" || Buffer.isBuffer(value) || Array.isArray(value)) return undefined;
  const map = value as { readonly [key: string]: MmdbValue };
  return Object.hasOwn(map, name) ? map[name] : undefined;
}
