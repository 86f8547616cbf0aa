// SPDX-License-Identifier: Apache-2.0
/**
 * Decodes the Huffman code of HPACK (RFC 7541 §5.2).
 *
 * The code is canonical: the lengths alone give every code, in the order of length and then of symbol.
 */

/** Length of the code of each symbol (Appendix B), 5 to 30 bits as `a` to `z`; the last symbol is the end of string. */
const LENGTHS = [
  "isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhf",
  "ibccccccccccccccccccccccdcdioijbkabababbbaccbbbabcbaabccccckgjix",
  "prpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrs",
  "vvporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwv",
  "z",
].join("");

const END_OF_STRING = 256;
const SHORTEST = 5;
const LONGEST = 30;

interface Row {
  /** First code of this length, and the symbols of all of them in order. */
  readonly first: number;
  readonly symbols: readonly number[];
}

const ROWS: readonly Row[] = makeRows();

function makeRows(): Row[] {
  const rows: Row[] = [];
  let next = 0;
  for (let length = SHORTEST; length <= LONGEST; length++) {
    const letter = String.fromCharCode(97 + length - SHORTEST);
    const symbols = LENGTHS.split("").flatMap((each, symbol) => (each === letter ? [symbol] : []));
    rows[length] = { first: next, symbols };
    next = (next + symbols.length) * 2;
  }
  return rows;
}

/** Undefined where the bytes are no such code, or their end is not filled up as §5.2 says. */
export function decodeHuffman(bytes: Buffer): Buffer | undefined {
  const out: number[] = [];
  let code = 0;
  let length = 0;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1);
      length++;
      if (length < SHORTEST) continue;
      const { first, symbols } = ROWS[length]!;
      const symbol = symbols[code - first];
      if (symbol === END_OF_STRING) return undefined;
      if (symbol !== undefined) {
        out.push(symbol);
        [code, length] = [0, 0];
      } else if (length === LONGEST) return undefined;
    }
  }
  // What is left over is shorter than a byte and all ones.
  return length < 8 && code === 2 ** length - 1 ? Buffer.from(out) : undefined;
}
