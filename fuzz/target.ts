// SPDX-License-Identifier: Apache-2.0
/** What is a fuzzer? A file of `targets/` has one of these as its default export. */
import type { Choices } from "./choices.ts";

export interface FuzzTarget {
  /** The files whose parser it tries, from the root of the repository. */
  readonly parsers: readonly string[];
  /** What holds for every input, in a sentence. */
  readonly property: string;
  /** Words of the format; mutations put them in. */
  readonly words?: readonly string[];
  /** An input that has the format's shape. Without it inputs come from the corpus only. */
  make?(choose: Choices): Buffer | string;
  /** Longest input in bytes. */
  readonly largest?: number;
  /** Milliseconds that one input may take: what takes longer is a finding. */
  readonly slowest?: number;
  /** Throws where the property does not hold. */
  check(input: Buffer): void | Promise<void>;
}

export const LARGEST = 16_384;
export const SLOWEST = 400;

/** The property does not hold. */
export class Broken extends Error {}

export function demand(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Broken(message);
}

/** Both as JSON, so that a difference can be read. */
export function demandEqual(found: unknown, wanted: unknown, what: string): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  demand(a === b, `${what}: ${a ?? "nothing"} instead of ${b ?? "nothing"}`);
}
