// SPDX-License-Identifier: Apache-2.0
/**
 * How the log leaves the server so that others can check it: as JSON Lines, or as a tlog-tiles folder.
 *
 * JSON Lines: a header, one line per entry with its exact bytes, and the signed checkpoint. An export of a part
 * also carries the roots of what stands before and behind it, so that it proves its place under the same checkpoint.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { formatVkey, verifyCheckpoint } from "./checkpoint.ts";
import { HashTiles } from "./hash-tiles.ts";
import type { HashTile } from "./hash-tiles.ts";
import type { AuditLog } from "./log.ts";
import { HASH_BYTES, hashLeaf, subtreesOf } from "./merkle.ts";
import { frameEntries, TILE_WIDTH, tilePath } from "./tile-paths.ts";

/** The lines, without line ends, of an export of the entries `from..to)`. */
export async function* exportLog(log: AuditLog, from = 0, to?: number): AsyncGenerator<Buffer> {
  const { note, size } = await signedSize(log);
  const end = Math.min(to ?? size, size);
  const start = Math.min(Math.max(0, from), end);
  const before = await rootsOf(log, 0, start);
  const origin = log.key.name;
  yield jsonLine({
    postern_audit_export: 1,
    origin,
    vkey: formatVkey(log.key),
    ...(start === 0 ? {} : { from: start, before }),
  });
  for await (const { bytes } of log.entries(start, end)) yield bytes;
  const after = await rootsOf(log, end, size);
  yield jsonLine({ checkpoint: note, ...(end === size ? {} : { after }) });
}

/** Writes a folder that any reader of tlog-tiles understands, with the verifier key in the file `vkey`. */
export async function exportTiles(log: AuditLog, folder: string): Promise<{ readonly size: number }> {
  const { note, size } = await signedSize(log);
  const tiles = new HashTiles();
  let frames: Buffer[] = [];
  for await (const { bytes, index } of log.entries(0, size)) {
    tiles.append(hashLeaf(bytes));
    frames.push(frameEntries([bytes]));
    if (frames.length < TILE_WIDTH && index + 1 < size) continue;
    const number = Math.floor(index / TILE_WIDTH);
    await writePrivately(join(folder, tilePath("entries", number, frames.length)), Buffer.concat(frames));
    frames = [];
    for (const tile of tiles.toKeep.splice(0)) await writeTile(folder, tile);
  }
  for (const tile of tiles.open()) await writeTile(folder, tile);
  await writePrivately(join(folder, "vkey"), Buffer.from(`${formatVkey(log.key)}\n`));
  await writePrivately(join(folder, "checkpoint"), Buffer.from(note));
  return { size };
}

async function writeTile(folder: string, { level, number, bytes }: HashTile): Promise<void> {
  await writePrivately(join(folder, tilePath(level, number, bytes.length / HASH_BYTES)), bytes);
}

async function signedSize(log: AuditLog): Promise<{ note: string; size: number }> {
  const note = await log.checkpoint();
  const checkpoint = verifyCheckpoint(note, log.key);
  if (!checkpoint.ok) throw new Error(checkpoint.reason);
  return { note, size: checkpoint.value.size };
}

async function rootsOf(log: AuditLog, from: number, to: number): Promise<string[]> {
  const roots: string[] = [];
  for (const subtree of subtreesOf(from, to)) roots.push((await log.subtreeHash(subtree)).toString("base64"));
  return roots;
}

function jsonLine(value: Readonly<Record<string, unknown>>): Buffer {
  return Buffer.from(JSON.stringify(value));
}

async function writePrivately(path: string, bytes: Buffer): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(path, bytes, { mode: 0o600 });
}
