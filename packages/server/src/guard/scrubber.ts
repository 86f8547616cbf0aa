// SPDX-License-Identifier: Apache-2.0
/**
 * Replaces known byte patterns in a stream, split across chunks as they may be, with as many asterisks.
 *
 * The length stays, so framing and `Content-Length` stay right. Held back is only a tail that could still
 * become a pattern: at most the longest pattern less one byte.
 */

const MASK = 0x2a;

/** Finds any of a set of patterns. Immutable; shared by all streams that look for the same secrets. */
export class PatternMatcher {
  readonly #byPrefix = new Map<number, Buffer[]>();
  readonly #firstPair = new Uint8Array(65_536);
  readonly #firstByte = new Uint8Array(256);

  constructor(patterns: readonly Buffer[]) {
    for (const pattern of patterns) {
      if (pattern.length < 2) throw new RangeError("a pattern has two bytes or more");
      const pair = pattern[0]! | (pattern[1]! << 8);
      this.#firstByte[pattern[0]!] = 1;
      this.#firstPair[pair] = 1;
      const same = this.#byPrefix.get(pair);
      if (same === undefined) this.#byPrefix.set(pair, [pattern]);
      else same.push(pattern);
    }
  }

  /** Length of the longest pattern that stands at `at`, or 0. */
  matchAt(data: Buffer, at: number): number {
    let longest = 0;
    for (const pattern of this.#candidates(data, at)) {
      const end = at + pattern.length;
      if (
        pattern.length > longest &&
        end <= data.length &&
        data.compare(pattern, 0, pattern.length, at, end) === 0
      )
        longest = pattern.length;
    }
    return longest;
  }

  /** Whether the rest of `data` from `at` on is the beginning, and not the whole, of a pattern. */
  mayStartAt(data: Buffer, at: number): boolean {
    const rest = data.length - at;
    if (rest === 1) return this.#firstByte[data[at]!] === 1;
    return this.#candidates(data, at).some(
      (pattern) => pattern.length > rest && data.compare(pattern, 0, rest, at) === 0,
    );
  }

  /** The next position from `at` on where a pattern's first bytes stand; `data.length` where none. */
  nextCandidate(data: Buffer, at: number): number {
    const last = data.length - 1;
    for (let i = at; i < last; i++) {
      if (this.#firstPair[data[i]! | (data[i + 1]! << 8)] === 1) return i;
    }
    return at <= last && this.#firstByte[data[last]!] === 1 ? last : data.length;
  }

  #candidates(data: Buffer, at: number): readonly Buffer[] {
    return this.#byPrefix.get(data[at]! | (data[at + 1]! << 8)) ?? [];
  }
}

/** One stream's state. Push chunks in order, then `end` once. */
export class Scrubber {
  readonly #matcher: PatternMatcher;
  #held: Buffer = Buffer.alloc(0);
  /** Leading bytes of `#held` that belong to a pattern already found. */
  #heldMasked = 0;
  #found = 0;

  constructor(matcher: PatternMatcher) {
    this.#matcher = matcher;
  }

  /** How many patterns were replaced so far. */
  get found(): number {
    return this.#found;
  }

  push(chunk: Buffer): Buffer {
    return this.#scan(this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]), false);
  }

  end(): Buffer {
    return this.#scan(this.#held, true);
  }

  #scan(data: Buffer, isLast: boolean): Buffer {
    const masks: [number, number][] = this.#heldMasked > 0 ? [[0, this.#heldMasked]] : [];
    let holdFrom = data.length;
    for (let at = this.#matcher.nextCandidate(data, 0); at < data.length;) {
      if (!isLast && this.#matcher.mayStartAt(data, at)) {
        holdFrom = at;
        break;
      }
      const length = at + 1 < data.length ? this.#matcher.matchAt(data, at) : 0;
      if (length > 0) {
        masks.push([at, at + length]);
        this.#found++;
      }
      at = this.#matcher.nextCandidate(data, at + 1);
    }
    return this.#release(data, holdFrom, masks);
  }

  #release(data: Buffer, holdFrom: number, masks: readonly (readonly [number, number])[]): Buffer {
    this.#held = Buffer.from(data.subarray(holdFrom));
    this.#heldMasked = Math.max(0, ...masks.map(([, end]) => end - holdFrom));
    if (masks.length === 0) return data.subarray(0, holdFrom);
    const out = Buffer.from(data.subarray(0, holdFrom));
    for (const [start, end] of masks) out.fill(MASK, start, Math.min(end, holdFrom));
    return out;
  }
}

/** Replaces patterns in a short text of Latin-1 characters, such as a header value. */
export function scrubText(matcher: PatternMatcher, text: string): { text: string; found: number } {
  const bytes = Buffer.from(text, "latin1");
  const scrubber = new Scrubber(matcher);
  const clean = Buffer.concat([scrubber.push(bytes), scrubber.end()]);
  return scrubber.found === 0
    ? { text, found: 0 }
    : { text: clean.toString("latin1"), found: scrubber.found };
}
