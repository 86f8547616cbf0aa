// SPDX-License-Identifier: Apache-2.0
/** Is this entry in that tree, and does the larger tree continue the smaller one (RFC 9162 §2.1.3, §2.1.4)? */
import { hashNode, splitPoint, subtreesOf } from "./merkle.ts";
import type { Subtree } from "./merkle.ts";

/** Where proofs get the roots of complete subtrees from. */
export type SubtreeHash = (subtree: Subtree) => Promise<Buffer>;

/** Root over the leaves `from..to)`, where `from` is a multiple of a power of two that is no smaller. */
export async function rootOfRange(from: number, to: number, hashAt: SubtreeHash): Promise<Buffer> {
  const hashes = await Promise.all(subtreesOf(from, to).map(hashAt));
  return hashes.reduceRight((right, left) => hashNode(left, right));
}

/** The hashes from the leaf `index` up to the root of the tree of `size`. */
export async function inclusionProof(index: number, size: number, hashAt: SubtreeHash): Promise<Buffer[]> {
  if (index < 0 || index >= size) throw new RangeError("there is no such entry in a tree of that size");
  const proof: Buffer[] = [];
  let from = 0;
  let to = size;
  while (to - from > 1) {
    const middle = from + splitPoint(to - from);
    const inLeft = index < middle;
    proof.push(inLeft ? await rootOfRange(middle, to, hashAt) : await rootOfRange(from, middle, hashAt));
    if (inLeft) to = middle;
    else from = middle;
  }
  return proof.toReversed();
}

export interface InclusionClaim {
  readonly index: number;
  readonly size: number;
  readonly leafHash: Buffer;
  readonly proof: readonly Buffer[];
  readonly root: Buffer;
}

/** RFC 9162 §2.1.3.2. */
export function verifyInclusion({ index, size, leafHash, proof, root }: InclusionClaim): boolean {
  if (index < 0 || index >= size) return false;
  let node = index;
  let last = size - 1;
  let result = leafHash;
  for (const hash of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      result = hashNode(hash, result);
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)];
    } else {
      result = hashNode(result, hash);
    }
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 && result.equals(root);
}

/** The hashes that show that the tree of `size` begins with the tree of `earlier`. */
export async function consistencyProof(
  earlier: number,
  size: number,
  hashAt: SubtreeHash,
): Promise<Buffer[]> {
  if (earlier < 1 || earlier > size) throw new RangeError("the earlier tree must have 1 to `size` entries");
  const proof: Buffer[] = [];
  let from = 0;
  let to = size;
  let known = true;
  while (earlier !== to) {
    const middle = from + splitPoint(to - from);
    if (earlier <= middle) {
      proof.push(await rootOfRange(middle, to, hashAt));
      to = middle;
    } else {
      proof.push(await rootOfRange(from, middle, hashAt));
      from = middle;
      known = false;
    }
  }
  if (!known) proof.push(await rootOfRange(from, to, hashAt));
  return proof.toReversed();
}

export interface ConsistencyClaim {
  readonly earlier: number;
  readonly size: number;
  readonly earlierRoot: Buffer;
  readonly root: Buffer;
  readonly proof: readonly Buffer[];
}

/** RFC 9162 §2.1.4.2. */
export function verifyConsistency(claim: ConsistencyClaim): boolean {
  const { earlier, size, earlierRoot, root } = claim;
  if (earlier < 1 || earlier > size) return false;
  if (earlier === size) return claim.proof.length === 0 && earlierRoot.equals(root);
  const isPowerOfTwo = splitPoint(earlier + 1) === earlier;
  const [first, ...rest] = isPowerOfTwo ? [earlierRoot, ...claim.proof] : claim.proof;
  if (first === undefined) return false;
  let [node, last] = [earlier - 1, size - 1];
  while (node % 2 === 1) [node, last] = [(node - 1) / 2, Math.floor(last / 2)];
  let [earlierResult, result] = [first, first];
  for (const hash of rest) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      earlierResult = hashNode(hash, earlierResult);
      result = hashNode(hash, result);
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)];
    } else {
      result = hashNode(result, hash);
    }
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 && earlierResult.equals(earlierRoot) && result.equals(root);
}
