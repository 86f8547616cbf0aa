// SPDX-License-Identifier: Apache-2.0
/** How does one input become another one that is like it? */

/** The same numbers for the same seed (xorshift32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e3779b1) | 1;
  }

  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }
}

export interface Material {
  /** Inputs to take parts from. */
  readonly others: readonly Buffer[];
  readonly words: readonly Buffer[];
  readonly largest: number;
}

type Mutation = (input: Buffer, chance: Chance, material: Material) => Buffer;

/** Ends of ranges, line ends, quotes, separators, and what is not ASCII. */
const ODD_BYTES = [...Buffer.from("\0\t\n\r \"#%&'+,-./0:;<=>?@[\\]_{|}~\x7f", "latin1"), 0x80, 0xc0, 0xff];
const ODD_NUMBERS = "0 00 1 -1 255 256 65535 65536 4294967296 9007199254740993 1e400 0x10".split(" ");

const MUTATIONS: readonly Mutation[] = [
  (input, chance) => spliced(input, chance.below(input.length + 1), 0, oddBytes(chance)),
  (input, chance) => spliced(input, chance.below(input.length + 1), 1, oddBytes(chance)),
  (input, chance) => {
    const copy = Buffer.from(input);
    if (copy.length > 0) copy[chance.below(copy.length)]! ^= 1 << chance.below(8);
    return copy;
  },
  (input, chance) => {
    const { at, length } = someRange(input, chance);
    return spliced(input, at, length, Buffer.alloc(0));
  },
  (input, chance) => {
    const { at, length } = someRange(input, chance);
    return spliced(input, chance.below(input.length + 1), 0, input.subarray(at, at + length));
  },
  (input, chance, { words }) =>
    words.length === 0 ? input : spliced(input, chance.below(input.length + 1), 0, chance.pick(words)),
  (input, chance, { words }) => {
    const { at, length } = someRange(input, chance);
    return words.length === 0 ? input : spliced(input, at, length, chance.pick(words));
  },
  (input, chance, { others }) => {
    const other = chance.pick(others);
    const { at, length } = someRange(other, chance);
    const into = someRange(input, chance);
    return spliced(input, into.at, chance.below(2) * into.length, other.subarray(at, at + length));
  },
  (input, chance) => {
    const numbers = [...input.toString("latin1").matchAll(/\d+/g)];
    const number = numbers.length === 0 ? undefined : chance.pick(numbers);
    if (number === undefined) return input;
    return spliced(input, number.index, number[0].length, Buffer.from(chance.pick(ODD_NUMBERS)));
  },
  repeated,
];

/** One to four mutations in turn. */
export function mutated(input: Buffer, chance: Chance, material: Material): Buffer {
  let result = input;
  for (let left = 1 + chance.below(4); left > 0; left--)
    result = chance.pick(MUTATIONS)(result, chance, material);
  return result.subarray(0, material.largest);
}

/** What grows faster than its input shows in long runs of the same. */
function repeated(input: Buffer, chance: Chance, { largest }: Material): Buffer {
  const { at, length } = someRange(input, chance);
  if (length === 0) return input;
  const most = Math.floor(Math.max(0, largest - input.length) / length);
  const times = Math.min(most, chance.below(32) === 0 ? most : 1 + chance.below(40));
  const part = input.subarray(at, at + length);
  return spliced(input, at, 0, Buffer.concat(Array.from({ length: times }, () => part)));
}

const oddBytes = (chance: Chance): Buffer =>
  chance.below(2) === 0 ? chance.bytes(1 + chance.below(3)) : Buffer.from([chance.pick(ODD_BYTES)]);

function someRange(input: Buffer, chance: Chance): { at: number; length: number } {
  const at = chance.below(input.length + 1);
  const most = Math.min(input.length - at, chance.pick([1, 4, 16, input.length]));
  return { at, length: most === 0 ? 0 : 1 + chance.below(most) };
}

function spliced(input: Buffer, at: number, length: number, put: Buffer): Buffer {
  return Buffer.concat([input.subarray(0, at), put, input.subarray(at + length)]);
}
