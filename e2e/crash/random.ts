// SPDX-License-Identifier: Apache-2.0
/** Chance that a seed repeats. */

export interface Chance {
  /** From 0 up to, but without, `limit`. */
  below(limit: number): number;
  oneOf<T>(values: readonly T[]): T;
}

/** Mulberry32 over a hash of the words, so that every client of every round has a sequence of its own. */
export function chanceFrom(...words: readonly (string | number)[]): Chance {
  let state = 0x811c9dc5;
  for (const byte of Buffer.from(words.join("/"))) state = Math.imul(state ^ byte, 0x01000193) >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return { below, oneOf: (values) => values[below(values.length)]! };
}
