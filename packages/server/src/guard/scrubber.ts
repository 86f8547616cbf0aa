// SPDX-License-Identifier: Apache-2.0
/**
 * Replaces known byte patterns in a stream, split across chunks as they may be, with as many asterisks.
 *
 * The length stays, so framing and `Content-Length` stay right. Held back is a tail in which a pattern of any kind could
 * still be open: at most the longest pattern less one byte, and nothing behind the end of an event or a line. What
 * stands in it plays no part: were only the beginnings of secrets held back, whoever has guesses sent back piece by
 * piece would see from the delay how far they are right.
 */
import type { Matcher } from "./pattern-matcher.ts";

const MASK = 0x2a;
const NOTHING = Buffer.alloc(0);

/** One stream's state. Push chunks in order, then `end` once. */
export class Scrubber {
  readonly #matcher: Matcher;
  #held = NOTHING;
  /** Leading bytes of `#held` that belong to a pattern already found. */
  #heldMasked = 0;
  #found = 0;

  constructor(matcher: Matcher) {
    this.#matcher = matcher;
  }

  /** How many patterns were replaced so far. */
  get found(): number {
    return this.#found;
  }

  push(chunk: Buffer): Buffer {
    const data = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    return this.#release(data, this.#matcher.closedTo(data));
  }

  end(): Buffer {
    return this.#release(this.#held, this.#held.length);
  }

  #release(data: Buffer, closedTo: number): Buffer {
    const known = this.#held.length;
    let out = this.#heldMasked > 0 ? Buffer.from(data).fill(MASK, 0, this.#heldMasked) : undefined;
    let maskedTo = this.#heldMasked;
    this.#matcher.scan(data, (start, end) => {
      // What lies in the held bytes as a whole was counted when they came.
      if (end > known) this.#found++;
      out ??= Buffer.from(data);
      out.fill(MASK, start, end);
      if (start < closedTo && end > maskedTo) maskedTo = end;
    });
    this.#held = closedTo === data.length ? NOTHING : Buffer.from(data.subarray(closedTo));
    this.#heldMasked = Math.max(0, maskedTo - closedTo);
    return (out ?? data).subarray(0, closedTo);
  }
}

/** Replaces patterns in a short text of Latin-1 characters, such as a header value. */
export function scrubText(matcher: Matcher, text: string): { text: string; found: number } {
  const bytes = Buffer.from(text, "latin1");
  const scrubber = new Scrubber(matcher);
  const clean = Buffer.concat([scrubber.push(bytes), scrubber.end()]);
  return scrubber.found === 0
    ? { text, found: 0 }
    : { text: clean.toString("latin1"), found: scrubber.found };
}

/** Whether any pattern stands in the bytes. */
export function holdsPattern(matcher: Matcher, data: Buffer): boolean {
  let isThere = false;
  matcher.scan(data, () => (isThere = true));
  return isThere;
}
