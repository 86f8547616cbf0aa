// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HashTiles } from "./hash-tiles.ts";
import { CompactRange, EMPTY_ROOT, hashLeaf, rootOfHashes, subtreesOf } from "./merkle.ts";
import type { Subtree } from "./merkle.ts";
import {
  consistencyProof,
  inclusionProof,
  rootOfRange,
  verifyConsistency,
  verifyInclusion,
} from "./merkle-proof.ts";

const sha256 = (...parts: Buffer[]): Buffer => createHash("sha256").update(Buffer.concat(parts)).digest();

/** The definition of RFC 9162 §2.1.1, word by word and slow. */
function naiveRoot(entries: readonly Buffer[]): Buffer {
  if (entries.length === 0) return sha256();
  if (entries.length === 1) return sha256(Buffer.from([0]), entries[0]!);
  let k = 1;
  while (k * 2 < entries.length) k *= 2;
  return sha256(Buffer.from([1]), naiveRoot(entries.slice(0, k)), naiveRoot(entries.slice(k)));
}

const numbered = (size: number): Buffer[] =>
  Array.from({ length: size }, (_, n) => Buffer.from(`entry ${n}`));
const naiveSubtree = (entries: readonly Buffer[]) => (subtree: Subtree) => {
  const width = 2 ** subtree.level;
  return Promise.resolve(naiveRoot(entries.slice(subtree.index * width, (subtree.index + 1) * width)));
};

describe("the Merkle tree", () => {
  it("has the roots of the well-known Certificate Transparency test leaves", () => {
    const leaves = [
      "",
      "00",
      "10",
      "2021",
      "3031",
      "40414243",
      "5051525354555657",
      "606162636465666768696a6b6c6d6e6f",
    ];
    const hashes = leaves.map((hex) => hashLeaf(Buffer.from(hex, "hex")));
    const roots = [1, 8].map((size) => rootOfHashes(hashes, 0, size).toString("hex"));
    expect(roots).toEqual([
      "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
      "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]);
    expect(EMPTY_ROOT).toEqual(naiveRoot([]));
  });

  it("has the root of the definition, however it is computed", () => {
    const entries = fc.array(
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
      { maxLength: 300 },
    );
    fc.assert(
      fc.property(entries, (leaves) => {
        const range = new CompactRange();
        for (const leaf of leaves) range.append(hashLeaf(leaf));
        const expected = naiveRoot(leaves);
        expect(range.root()).toEqual(expected);
        expect(rootOfHashes(leaves.map(hashLeaf))).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  it.each([0, 1, 255, 256, 257, 511, 512, 70_000])("has the same root in tiles, at size %i", (size) => {
    const tiles = new HashTiles();
    const range = new CompactRange();
    for (const entry of numbered(size)) {
      tiles.append(hashLeaf(entry));
      range.append(hashLeaf(entry));
    }
    expect(tiles.size).toBe(size);
    expect(tiles.root()).toEqual(range.root());
    expect(tiles.toKeep.length).toBe(Math.floor(size / 256) + Math.floor(size / 65_536));
  });

  it("covers every range with complete subtrees that a range can be continued with", () => {
    fc.assert(
      fc.property(fc.nat(400), fc.nat(400), (a, b) => {
        const [from, to] = a < b ? [a, b] : [b, a];
        const leaves = numbered(to);
        const range = new CompactRange();
        for (const leaf of leaves.slice(0, from)) range.append(hashLeaf(leaf));
        for (const { level, index } of subtreesOf(from, to)) {
          range.appendSubtree(level, naiveRoot(leaves.slice(index * 2 ** level, (index + 1) * 2 ** level)));
        }
        expect(range.size).toBe(to);
        expect(range.root()).toEqual(naiveRoot(leaves));
      }),
      { numRuns: 60 },
    );
  });

  it("does not lose count above 2^32 entries", () => {
    const size = 2 ** 40 + 5;
    const subtrees = subtreesOf(0, size);
    expect(subtrees.reduce((sum, { level }) => sum + 2 ** level, 0)).toBe(size);
    expect(subtrees.length).toBe(3);
  });
});

describe("a proof", () => {
  it("of inclusion holds for its entry and for no other entry, place, size or root", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 90 }), fc.nat(), async (size, seed) => {
        const entries = numbered(size);
        const index = seed % size;
        const proof = await inclusionProof(index, size, naiveSubtree(entries));
        const claim = { index, size, leafHash: hashLeaf(entries[index]!), proof, root: naiveRoot(entries) };
        expect(verifyInclusion(claim)).toBe(true);
        expect(verifyInclusion({ ...claim, leafHash: hashLeaf(Buffer.from("other")) })).toBe(false);
        expect(verifyInclusion({ ...claim, root: EMPTY_ROOT })).toBe(false);
        expect(verifyInclusion({ ...claim, proof: [...proof, EMPTY_ROOT] })).toBe(false);
        expect(verifyInclusion({ ...claim, index: size })).toBe(false);
        if (size > 1) {
          expect(verifyInclusion({ ...claim, index: (index + 1) % size })).toBe(false);
          expect(verifyInclusion({ ...claim, proof: proof.slice(1) })).toBe(false);
        }
      }),
      { numRuns: 100 },
    );
  });

  it("of consistency holds between any two sizes and not for a history that was rewritten", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 90 }), fc.nat(), async (size, seed) => {
        const entries = numbered(size);
        const earlier = 1 + (seed % size);
        const hashAt = naiveSubtree(entries);
        const proof = await consistencyProof(earlier, size, hashAt);
        const earlierRoot = await rootOfRange(0, earlier, hashAt);
        const claim = { earlier, size, earlierRoot, root: naiveRoot(entries), proof };
        expect(verifyConsistency(claim)).toBe(true);
        const rewritten = naiveRoot([Buffer.from("other"), ...entries.slice(1, earlier)]);
        expect(verifyConsistency({ ...claim, earlierRoot: rewritten })).toBe(false);
        expect(verifyConsistency({ ...claim, root: rewritten })).toBe(false);
        expect(verifyConsistency({ ...claim, proof: [...proof, EMPTY_ROOT] })).toBe(false);
      }),
      { numRuns: 100 },
    );
  });
});
