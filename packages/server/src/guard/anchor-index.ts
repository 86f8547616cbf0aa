// SPDX-License-Identifier: Apache-2.0
/**
 * Which patterns stand in this text? Each is looked for by its anchor: the eight bytes in it that the fewest
 * other places of all patterns share.
 *
 * So ten thousand keys with one prefix cost no more than others, and a text made of that prefix hits nothing.
 * The comparison goes outward from the anchor: as an anchor stands in its pattern once (but for secrets that
 * repeat themselves), compared stretches of one pattern do not overlap and the work stays linear.
 */

/** Patterns one after the other, folded; `starts` has one entry more than there are patterns. */
export interface PatternBytes {
  readonly bytes: Uint8Array;
  readonly starts: Int32Array;
}

/** Sees a pattern in bytes `start` to `end`. */
export type Found = (start: number, end: number) => void;

/** ASCII letters in lower case, every other byte as it is. */
export const FOLD: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte,
);

const LOW = 0x9e3779b1 | 0;
const HIGH = 0x85ebca77 | 0;
/** Patterns between two pauses of a build. */
const SLICE = 2048;

/** The bits of a table that `count` entries fill to a 32nd at most. */
export const sparseBits = (count: number): number =>
  Math.min(24, Math.max(10, Math.ceil(Math.log2(count * 32 + 1))));

/** Looks for those patterns that have at least `width` bytes and fewer than `below`. */
export class AnchorIndex {
  readonly #patterns: PatternBytes;
  readonly #width: 4 | 8;
  readonly #low: number;
  /** One bit per hash value that some anchor has. */
  #filter = new Int32Array(0);
  #filterShift = 0;
  /** Open addressing: hash of an anchor, and its first pattern plus one. */
  #slotShift = 0;
  #slotHash = new Int32Array(0);
  #slotPattern = new Int32Array(0);
  /** By pattern: the next one of the same anchor plus one, and where its anchor ends. */
  readonly #next: Int32Array;
  readonly #anchorEnd: Int32Array;

  private constructor(patterns: PatternBytes, width: 4 | 8) {
    this.#patterns = patterns;
    this.#width = width;
    this.#low = width === 8 ? LOW : 0;
    this.#next = new Int32Array(patterns.starts.length - 1);
    this.#anchorEnd = new Int32Array(patterns.starts.length - 1);
  }

  /** Pauses (yields) often, so that the caller may let others run in between. */
  static *build(
    patterns: PatternBytes,
    width: 4 | 8,
    below: number,
  ): Generator<void, AnchorIndex | undefined> {
    const chosen: number[] = [];
    let windows = 0;
    for (let index = 0; index < patterns.starts.length - 1; index++) {
      const length = patterns.starts[index + 1]! - patterns.starts[index]!;
      if (length < width || length >= below) continue;
      chosen.push(index);
      windows += length - width + 1;
    }
    if (chosen.length === 0) return undefined;
    const made = new AnchorIndex(patterns, width);
    yield* made.#fill(chosen, windows);
    return made;
  }

  *#fill(chosen: readonly number[], windows: number): Generator<void, void> {
    const shift = 32 - Math.min(24, Math.max(10, Math.ceil(Math.log2(windows * 2))));
    const counts = new Uint16Array(2 ** (32 - shift));
    for (const [done, index] of chosen.entries()) {
      this.#eachWindow(index, (hash) => {
        const at = hash >>> shift;
        if (counts[at]! < 65_535) counts[at]!++;
      });
      if (done % SLICE === 0) yield;
    }
    this.#filterShift = 32 - sparseBits(chosen.length);
    this.#filter = new Int32Array(2 ** (27 - this.#filterShift));
    const slots = Math.ceil(Math.log2(chosen.length * 2 + 1));
    this.#slotShift = 32 - slots;
    this.#slotHash = new Int32Array(2 ** slots);
    this.#slotPattern = new Int32Array(2 ** slots);
    for (const [done, index] of chosen.entries()) {
      let best = 0;
      let bestCount = Number.POSITIVE_INFINITY;
      this.#eachWindow(index, (hash, end) => {
        const count = counts[hash >>> shift]!;
        // Of equals the last: the beginnings of secrets are what strangers know of them.
        if (count > bestCount) return;
        bestCount = count;
        best = hash;
        this.#anchorEnd[index] = end;
      });
      this.#insert(best, index);
      if (done % SLICE === 0) yield;
    }
  }

  #eachWindow(index: number, see: (hash: number, end: number) => void): void {
    const { bytes, starts } = this.#patterns;
    const from = starts[index]!;
    const to = starts[index + 1]!;
    let low = 0;
    let high = 0;
    for (let at = from; at < to; at++) {
      low = (low >>> 8) | (high << 24);
      high = (high >>> 8) | ((bytes[at]! | 0x20) << 24);
      if (at - from >= this.#width - 1)
        see((Math.imul(low, this.#low) + Math.imul(high, HIGH)) | 0, at - from + 1);
    }
  }

  #insert(hash: number, index: number): void {
    const bit = hash >>> this.#filterShift;
    this.#filter[bit >>> 5]! |= 1 << (bit & 31);
    const slot = this.#slotOf(hash);
    this.#slotHash[slot] = hash;
    this.#next[index] = this.#slotPattern[slot]!;
    this.#slotPattern[slot] = index + 1;
  }

  /** The slot of this hash, or the free one where it belongs. */
  #slotOf(hash: number): number {
    const last = this.#slotHash.length - 1;
    let slot = hash >>> this.#slotShift;
    while (this.#slotPattern[slot] !== 0 && this.#slotHash[slot] !== hash) slot = (slot + 1) & last;
    return slot;
  }

  scan(data: Uint8Array, found: Found): void {
    const filter = this.#filter;
    const shift = this.#filterShift;
    const factor = this.#low;
    const first = this.#width - 1;
    const end = data.length;
    let low = 0;
    let high = 0;
    // One spelling of letters; what else falls together is told apart by the comparison.
    for (let at = 0; at < end; at++) {
      low = (low >>> 8) | (high << 24);
      high = (high >>> 8) | ((data[at]! | 0x20) << 24);
      const hash = (Math.imul(low, factor) + Math.imul(high, HIGH)) | 0;
      const bit = hash >>> shift;
      if ((filter[bit >>> 5]! & (1 << (bit & 31))) !== 0 && at >= first)
        this.#compare(data, at + 1, hash, found);
    }
  }

  /** Compares the patterns whose anchor may end before `anchorEnd`. */
  #compare(data: Uint8Array, anchorEnd: number, hash: number, found: Found): void {
    const { bytes, starts } = this.#patterns;
    let entry = this.#slotPattern[this.#slotOf(hash)]!;
    for (; entry !== 0; entry = this.#next[entry - 1]!) {
      const from = starts[entry - 1]!;
      const length = starts[entry]! - from;
      const middle = this.#anchorEnd[entry - 1]!;
      const start = anchorEnd - middle;
      if (start < 0 || start + length > data.length) continue;
      let at = middle - 1;
      while (at >= 0 && FOLD[data[start + at]!] === bytes[from + at]) at--;
      if (at >= 0) continue;
      at = middle;
      while (at < length && FOLD[data[start + at]!] === bytes[from + at]) at++;
      if (at === length) found(start, start + length);
    }
  }
}
