// SPDX-License-Identifier: Apache-2.0
/**
 * Finds any of very many patterns in a text, and tells how much of its end may be the beginning of one.
 *
 * Immutable; shared by all streams that look for the same secrets. Letters are compared without case.
 */
import { AnchorIndex, FOLD, type Found, type PatternBytes, sparseBits } from "./anchor-index.ts";

export interface Matcher {
  /** Length of the longest pattern. */
  readonly longest: number;
  /** Calls `found` for every occurrence that is complete, in no order. */
  scan(data: Uint8Array, found: Found): void;
  /** From where on `data` is the beginning, and not the whole, of a pattern; `data.length` where nowhere. */
  openFrom(data: Uint8Array): number;
  /**
   * Up to where no pattern can still be open, whatever comes next. Depends on lengths and on ends of lines alone, never
   * on what else stands there: so no delay tells whether it was the beginning of a secret.
   */
  closedTo(data: Buffer): number;
}

/**
 * What ends an event (of `text/event-stream`), a JSON line or a line. Where no pattern holds it, nothing is open
 * behind it, and a stream that pauses there is not held back.
 */
const STOPS = ["\n", "\n\n", "\r\n\r\n", "}\n", "}\r\n"].map((stop) => Buffer.from(stop));

const LEAST = 4;
const PREFIX = 0x9e3779b1 | 0;
/** Index and first four bytes of a pattern are sorted as one number of 53 bits. */
const MOST_PATTERNS = 2 ** 21;

export class PatternMatcher implements Matcher {
  readonly #patterns: PatternBytes;
  readonly #indexes: readonly AnchorIndex[];
  /** One bit per hash of four bytes with which a pattern begins. */
  readonly #prefixes: Int32Array;
  readonly #prefixShift: number;
  readonly longest: number;
  readonly #stops: readonly Buffer[];

  private constructor(patterns: PatternBytes, indexes: readonly AnchorIndex[]) {
    this.#patterns = patterns;
    this.#indexes = indexes;
    const count = patterns.starts.length - 1;
    this.#prefixShift = 32 - sparseBits(count);
    this.#prefixes = new Int32Array(2 ** (27 - this.#prefixShift));
    let longest = 0;
    for (let index = 0; index < count; index++) {
      const start = patterns.starts[index]!;
      longest = Math.max(longest, patterns.starts[index + 1]! - start);
      const bit = prefixHash(patterns.bytes, start) >>> this.#prefixShift;
      this.#prefixes[bit >>> 5]! |= 1 << (bit & 31);
    }
    this.longest = longest;
    const bytes = Buffer.from(patterns.bytes.buffer, patterns.bytes.byteOffset, patterns.bytes.length);
    this.#stops = STOPS.filter((stop) => !bytes.includes(stop));
  }

  static of(patterns: Iterable<Buffer>): PatternMatcher {
    const build = PatternMatcher.build(patterns);
    for (;;) {
      const step = build.next();
      if (step.done === true) return step.value;
    }
  }

  /** Pauses (yields) every few milliseconds, so that the caller may let others run in between. */
  static *build(patterns: Iterable<Buffer>): Generator<void, PatternMatcher> {
    const sorted = yield* sortedPatterns(yield* collected(patterns));
    const indexes = [
      yield* AnchorIndex.build(sorted, 8, Number.POSITIVE_INFINITY),
      yield* AnchorIndex.build(sorted, 4, 8),
    ];
    return new PatternMatcher(
      sorted,
      indexes.filter((index) => index !== undefined),
    );
  }

  scan(data: Uint8Array, found: Found): void {
    for (const index of this.#indexes) index.scan(data, found);
  }

  openFrom(data: Uint8Array): number {
    const end = data.length;
    for (let at = Math.max(0, end - this.longest + 1); at < end; at++) {
      if (end - at >= LEAST) {
        const bit = prefixHash(data, at) >>> this.#prefixShift;
        if ((this.#prefixes[bit >>> 5]! & (1 << (bit & 31))) === 0) continue;
      }
      if (this.#isOpen(data, at)) return at;
    }
    return end;
  }

  closedTo(data: Buffer): number {
    let to = Math.min(data.length, Math.max(0, data.length - this.longest + 1));
    for (const stop of this.#stops) {
      const at = data.lastIndexOf(stop);
      if (at !== -1) to = Math.max(to, at + stop.length);
    }
    return to;
  }

  /**
   * Whether the rest of `data` is a proper prefix of a pattern. A binary search that never compares twice
   * what both neighbours have in common.
   */
  #isOpen(data: Uint8Array, at: number): boolean {
    const { bytes, starts } = this.#patterns;
    const rest = data.length - at;
    let low = 0;
    let high = starts.length - 1;
    let sameAsLow = 0;
    let sameAsHigh = 0;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const from = starts[middle]!;
      const length = starts[middle + 1]! - from;
      const most = Math.min(rest, length);
      let same = Math.min(sameAsLow, sameAsHigh);
      while (same < most && FOLD[data[at + same]!] === bytes[from + same]) same++;
      if (same === rest && length > rest) return true;
      if (same === most || bytes[from + same]! < FOLD[data[at + same]!]!) {
        low = middle + 1;
        sameAsLow = same;
      } else {
        high = middle;
        sameAsHigh = same;
      }
    }
    return false;
  }
}

/** Looks for the patterns of all of them. */
export function joined(matchers: readonly Matcher[]): Matcher {
  const [only] = matchers;
  if (matchers.length === 1 && only !== undefined) return only;
  return {
    longest: Math.max(0, ...matchers.map(({ longest }) => longest)),
    scan: (data, found) => {
      for (const matcher of matchers) matcher.scan(data, found);
    },
    openFrom: (data) => Math.min(data.length, ...matchers.map((matcher) => matcher.openFrom(data))),
    // What is closed for one stays closed in front of it: the least is closed for all.
    closedTo: (data) => Math.min(data.length, ...matchers.map((matcher) => matcher.closedTo(data))),
  };
}

const prefixHash = (data: Uint8Array, at: number): number =>
  Math.imul(
    data[at]! |
      0x20 |
      ((data[at + 1]! | 0x20) << 8) |
      ((data[at + 2]! | 0x20) << 16) |
      ((data[at + 3]! | 0x20) << 24),
    PREFIX,
  );

function* collected(patterns: Iterable<Buffer>): Generator<void, PatternBytes> {
  let bytes = new Uint8Array(4096);
  const starts = [0];
  let used = 0;
  for (const pattern of patterns) {
    if (pattern.length < LEAST) throw new RangeError(`a pattern has ${LEAST} bytes or more`);
    if (starts.length > MOST_PATTERNS) throw new RangeError(`there are more than ${MOST_PATTERNS} patterns`);
    if (used + pattern.length > bytes.length) {
      const larger = new Uint8Array(Math.max(bytes.length * 2, used + pattern.length));
      larger.set(bytes.subarray(0, used));
      bytes = larger;
    }
    for (let at = 0; at < pattern.length; at++) bytes[used + at] = FOLD[pattern[at]!]!;
    used += pattern.length;
    starts.push(used);
    if (starts.length % 1024 === 0) yield;
  }
  return { bytes, starts: Int32Array.from(starts) };
}

/** In the order of their bytes, without repeats. */
function* sortedPatterns(patterns: PatternBytes): Generator<void, PatternBytes> {
  const { bytes, starts } = patterns;
  const order = Int32Array.from({ length: starts.length - 1 }, (_, index) => index);
  yield* sort(patterns, order, 0);
  const out = new Uint8Array(starts.at(-1)!);
  const outStarts = [0];
  let used = 0;
  let last: Uint8Array | undefined;
  for (const index of order) {
    const pattern = bytes.subarray(starts[index], starts[index + 1]);
    if (last !== undefined && Buffer.compare(last, pattern) === 0) continue;
    last = pattern;
    out.set(pattern, used);
    used += pattern.length;
    outStarts.push(used);
    if (outStarts.length % 1024 === 0) yield;
  }
  return { bytes: out.slice(0, used), starts: Int32Array.from(outStarts) };
}

/**
 * Sorts patterns that are alike in their first `depth` bytes. Numbers sort many times faster than with a
 * comparison, so four bytes and the place make one; those that are alike in them go the same way again.
 */
function* sort(patterns: PatternBytes, order: Int32Array, depth: number): Generator<void, void> {
  if (order.length <= 24) {
    if (order.length > 1) order.sort((a, b) => compareFrom(patterns, a, b, depth));
    return;
  }
  const { bytes, starts } = patterns;
  const from = depth + alikeFrom(patterns, order, depth);
  const byteAt = (index: number, at: number): number =>
    starts[index]! + at < starts[index + 1]! ? bytes[starts[index]! + at]! : 0;
  const keys = Float64Array.from(order, (index, place) => {
    const high = byteAt(index, from) * 256 + byteAt(index, from + 1);
    const low = byteAt(index, from + 2) * 256 + byteAt(index, from + 3);
    return (high * 65_536 + low) * MOST_PATTERNS + place;
  }).sort();
  const before = order.slice();
  for (const [place, key] of keys.entries()) order[place] = before[key % MOST_PATTERNS]!;
  yield;
  const wordAt = (place: number): number => Math.floor(keys[place]! / MOST_PATTERNS);
  for (let start = 0, end = 0; start < order.length; start = end) {
    while (end < order.length && wordAt(end) === wordAt(start)) end++;
    // Past all their ends: they are the same, or differ in zero bytes at the end alone.
    if (end - start === order.length && from > longestOf(patterns, order))
      return void order.sort((a, b) => compareFrom(patterns, a, b, 0));
    yield* sort(patterns, order.subarray(start, end), from + 4);
  }
}

/** How many bytes from `depth` on all of them have in common. */
function alikeFrom({ bytes, starts }: PatternBytes, order: Int32Array, depth: number): number {
  const first = bytes.subarray(starts[order[0]!]! + depth, starts[order[0]! + 1]);
  let common = Math.max(0, first.length);
  for (const index of order) {
    const at = starts[index]! + depth;
    common = Math.max(0, Math.min(common, starts[index + 1]! - at));
    let same = 0;
    while (same < common && bytes[at + same] === first[same]) same++;
    common = same;
  }
  return common;
}

const longestOf = ({ starts }: PatternBytes, order: Int32Array): number =>
  order.reduce((most, index) => Math.max(most, starts[index + 1]! - starts[index]!), 0);

function compareFrom({ bytes, starts }: PatternBytes, a: number, b: number, depth: number): number {
  const lengthA = starts[a + 1]! - starts[a]!;
  const lengthB = starts[b + 1]! - starts[b]!;
  const most = Math.min(lengthA, lengthB);
  for (let at = depth; at < most; at++) {
    const difference = bytes[starts[a]! + at]! - bytes[starts[b]! + at]!;
    if (difference !== 0) return difference;
  }
  return lengthA - lengthB;
}
