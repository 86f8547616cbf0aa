// SPDX-License-Identifier: Apache-2.0
/**
 * How entries become one root hash (Merkle tree of RFC 9162 §2.1, the same as RFC 6962).
 *
 * Depends on `node:crypto` alone, so that it can stand beside an offline verifier anywhere.
 * Sizes are plain numbers: arithmetic on them avoids bit operators, which stop at 32 bits.
 */
import { hash } from "node:crypto";

const LEAF_PREFIX = Buffer.from([0]);
const NODE_PREFIX = Buffer.from([1]);

export const HASH_BYTES = 32;

/** Root of the tree without entries. */
export const EMPTY_ROOT: Buffer = hash("sha256", Buffer.alloc(0), "buffer");

export function hashLeaf(entry: Buffer): Buffer {
  return hash("sha256", Buffer.concat([LEAF_PREFIX, entry]), "buffer");
}

export function hashNode(left: Buffer, right: Buffer): Buffer {
  return hash("sha256", Buffer.concat([NODE_PREFIX, left, right]), "buffer");
}

/** Largest power of two that is smaller than `size` (RFC 9162 §2.1.1, `k`). */
export function splitPoint(size: number): number {
  let k = 1;
  while (k * 2 < size) k *= 2;
  return k;
}

/**
 * Root over `hashes[from..to)`, each the root of an equally large complete subtree.
 *
 * The last one may be of a smaller tree: the split of the list is then still the split of the leaves.
 */
export function rootOfHashes(hashes: readonly Buffer[], from = 0, to = hashes.length): Buffer {
  if (to <= from) return EMPTY_ROOT;
  if (to - from === 1) return hashes[from]!;
  const middle = from + splitPoint(to - from);
  return hashNode(rootOfHashes(hashes, from, middle), rootOfHashes(hashes, middle, to));
}

/** A complete subtree: leaves `index * 2^level` up to `(index + 1) * 2^level`. */
export interface Subtree {
  readonly level: number;
  readonly index: number;
}

/** The fewest complete subtrees that cover leaves `from..to)`, left to right. */
export function subtreesOf(from: number, to: number): Subtree[] {
  const subtrees: Subtree[] = [];
  for (let start = from; start < to;) {
    let level = 0;
    let width = 1;
    while (start % (width * 2) === 0 && start + width * 2 <= to) {
      level++;
      width *= 2;
    }
    subtrees.push({ level, index: start / width });
    start += width;
  }
  return subtrees;
}

/** The root of a growing tree in memory that grows with the logarithm of its size. */
export class CompactRange {
  #size = 0;
  readonly #stack: { level: number; hash: Buffer }[] = [];

  get size(): number {
    return this.#size;
  }

  append(leafHash: Buffer): void {
    this.appendSubtree(0, leafHash);
  }

  /** Appends a complete subtree; the size so far must be a multiple of its width. */
  appendSubtree(level: number, subtreeHash: Buffer): void {
    if (this.#size % 2 ** level !== 0)
      throw new RangeError("a subtree must start at a multiple of its width");
    this.#size += 2 ** level;
    let merged = { level, hash: subtreeHash };
    for (let last = this.#stack.at(-1); last?.level === merged.level; last = this.#stack.at(-1)) {
      this.#stack.pop();
      merged = { level: merged.level + 1, hash: hashNode(last.hash, merged.hash) };
    }
    this.#stack.push(merged);
  }

  root(): Buffer {
    return (
      this.#stack.reduceRight<Buffer | undefined>(
        (right, left) => (right === undefined ? left.hash : hashNode(left.hash, right)),
        undefined,
      ) ?? EMPTY_ROOT
    );
  }
}
