// SPDX-License-Identifier: Apache-2.0
/** The hashes of a growing log as tlog-tiles: open tiles in memory, full ones handed out to be kept. */
import { rootOfHashes } from "./merkle.ts";
import type { Subtree } from "./merkle.ts";
import { TILE_HEIGHT, TILE_WIDTH } from "./tile-paths.ts";

/** A full tile: 256 hashes of 32 bytes. */
export interface HashTile {
  readonly level: number;
  readonly number: number;
  readonly bytes: Buffer;
}

interface TileLevel {
  full: number;
  open: Buffer[];
}

export class HashTiles {
  readonly #levels: TileLevel[] = [];
  /** Full tiles in the order in which they filled; whoever keeps one takes it out. */
  readonly toKeep: HashTile[] = [];

  /** Continues with what was read: all hashes of level 1 (one per full bundle) and the leaf hashes after them. */
  static restore(bundleHashes: readonly Buffer[], leafHashes: readonly Buffer[]): HashTiles {
    const tiles = new HashTiles();
    tiles.#level(0).full = bundleHashes.length;
    for (const hash of bundleHashes) tiles.#push(1, hash);
    for (const hash of leafHashes) tiles.#push(0, hash);
    return tiles;
  }

  get size(): number {
    const leaves = this.#levels[0];
    return leaves === undefined ? 0 : leaves.full * TILE_WIDTH + leaves.open.length;
  }

  append(leafHash: Buffer): void {
    this.#push(0, leafHash);
  }

  /** What stands in the tiles that are not full yet. */
  open(): HashTile[] {
    const partial = this.#levels.map(({ full, open }, level) => ({
      level,
      number: full,
      bytes: Buffer.concat(open),
    }));
    return partial.filter(({ bytes }) => bytes.length > 0);
  }

  root(): Buffer {
    let smaller: Buffer[] = [];
    for (const { open } of this.#levels) {
      const hashes = [...open, ...smaller];
      smaller = hashes.length === 0 ? [] : [rootOfHashes(hashes)];
    }
    return rootOfHashes(smaller);
  }

  /** The root of a complete subtree; `readTile` gives the full tiles. */
  async hashAt(
    { level, index }: Subtree,
    readTile: (level: number, number: number) => Promise<Buffer>,
  ): Promise<Buffer> {
    const tileLevel = Math.floor(level / TILE_HEIGHT);
    const width = 2 ** (level % TILE_HEIGHT);
    const number = Math.floor((index * width) / TILE_WIDTH);
    const start = (index * width) % TILE_WIDTH;
    const held = this.#levels[tileLevel];
    const hashes =
      held !== undefined && number === held.full ? held.open : splitTile(await readTile(tileLevel, number));
    return rootOfHashes(hashes, start, start + width);
  }

  #level(level: number): TileLevel {
    return (this.#levels[level] ??= { full: 0, open: [] });
  }

  #push(level: number, hash: Buffer): void {
    const tiles = this.#level(level);
    tiles.open.push(hash);
    if (tiles.open.length < TILE_WIDTH) return;
    const hashes = tiles.open;
    this.toKeep.push({ level, number: tiles.full, bytes: Buffer.concat(hashes) });
    tiles.full++;
    tiles.open = [];
    this.#push(level + 1, rootOfHashes(hashes));
  }
}

export function splitTile(bytes: Buffer): Buffer[] {
  const hashes: Buffer[] = [];
  for (let offset = 0; offset < bytes.length; offset += 32) hashes.push(bytes.subarray(offset, offset + 32));
  return hashes;
}
