// SPDX-License-Identifier: Apache-2.0
/** Where things lie in a tlog-tiles folder, and how entries stand in a bundle (C2SP tlog-tiles). */

/** Hashes in a full tile and entries in a full bundle. */
export const TILE_WIDTH = 256;
/** Tree levels from one tile level to the next. */
export const TILE_HEIGHT = 8;
export const MAX_ENTRY_BYTES = 65_535;

const LENGTH_BYTES = 2;

/** `x001/x234/067` for 1234067. */
export function encodeTileNumber(number: number): string {
  let path = String(number % 1000).padStart(3, "0");
  for (let rest = Math.floor(number / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = `x${String(rest % 1000).padStart(3, "0")}/${path}`;
  }
  return path;
}

/** Path of a tile below the folder; with a `width` under 256, of the partial tile. */
export function tilePath(level: number | "entries", number: number, width = TILE_WIDTH): string {
  const partial = width === TILE_WIDTH ? "" : `.p/${width}`;
  return `tile/${level}/${encodeTileNumber(number)}${partial}`;
}

/** Entries one after the other, each with its length in front. */
export function frameEntries(entries: readonly Buffer[]): Buffer {
  const total = entries.reduce((size, entry) => size + LENGTH_BYTES + entry.length, 0);
  const frames = Buffer.allocUnsafe(total);
  let at = 0;
  for (const entry of entries) {
    frames.writeUInt16BE(entry.length, at);
    entry.copy(frames, at + LENGTH_BYTES);
    at += LENGTH_BYTES + entry.length;
  }
  return frames;
}

/** The whole entries at the start of a bundle, at most `max`, and how many bytes they take. */
export function readBundle(bytes: Buffer, max = TILE_WIDTH): { entries: Buffer[]; length: number } {
  const entries: Buffer[] = [];
  let offset = 0;
  while (entries.length < max && offset + LENGTH_BYTES <= bytes.length) {
    const length = bytes.readUInt16BE(offset);
    const end = offset + LENGTH_BYTES + length;
    if (end > bytes.length) break;
    entries.push(bytes.subarray(offset + LENGTH_BYTES, end));
    offset = end;
  }
  return { entries, length: offset };
}
