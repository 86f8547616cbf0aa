// SPDX-License-Identifier: Apache-2.0
/**
 * Replaces known byte patterns in a sequence of messages, over the frames of one and over messages that follow each
 * other, with as many asterisks.
 *
 * A message that has ended is never held back for the next one. So of a pattern that stands in two, the part in
 * the first has gone when the second shows what it was; only what is left of it can be masked. What is held back of a message that goes on
 * depends on lengths alone: were it the beginning of a secret, whoever sends guesses would see from the delay
 * how far they are right, byte by byte. For the same reason a message that ends in the beginning of a secret passes.
 */
import type { Matcher } from "./pattern-matcher.ts";

const MASK = 0x2a;
const NOTHING = Buffer.alloc(0);

/** One direction of one connection. */
export class MessageScrubber {
  /** What is still needed, unmasked: bytes that have gone, and then those held back. */
  #data: Buffer = NOTHING;
  #gone = 0;
  /** How much of `#data` was searched before. */
  #searched = 0;
  #found = 0;

  /** How many patterns were replaced so far. */
  get found(): number {
    return this.#found;
  }

  /** The next bytes of a message, and what of it may go now: all of it where it `ends`. */
  push(bytes: Buffer, ends: boolean, matcher: Matcher): Buffer {
    const data = this.#data.length === 0 ? bytes : Buffer.concat([this.#data, bytes]);
    const mayHold = Math.max(0, matcher.longest - 1);
    // Searched in strides, so that a message in pieces of a byte is not searched anew for each.
    if (!ends && data.length - this.#gone < 2 * mayHold + 1) {
      this.#data = Buffer.from(data);
      return NOTHING;
    }
    const until = ends ? data.length : data.length - mayHold;
    const clean = this.#masked(data, matcher).subarray(this.#gone, until);
    const needed = ends ? matcher.openFrom(data) : Math.max(0, until - mayHold);
    this.#data = Buffer.from(data.subarray(needed));
    this.#gone = until - needed;
    this.#searched = data.length - needed;
    return clean;
  }

  #masked(data: Buffer, matcher: Matcher): Buffer {
    let out: Buffer | undefined;
    matcher.scan(data, (start, end) => {
      if (end > this.#searched) this.#found++;
      out ??= Buffer.from(data);
      out.fill(MASK, start, end);
    });
    return out ?? data;
  }
}
