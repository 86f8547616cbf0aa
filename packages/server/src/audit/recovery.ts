// SPDX-License-Identifier: Apache-2.0
/**
 * Is what lies in the folder the log that was last signed, and where does it end?
 *
 * Entries are the truth and hash tiles are derived from them; the checkpoint says how far both were vouched for.
 * Behind the checkpoint a torn write is cut off (and kept aside); before it, any difference stops the opening.
 */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Instant } from "../kernel/clock.ts";
import { Fault } from "../kernel/fault.ts";
import type { BundlePosition } from "./bundle-writer.ts";
import { verifyCheckpoint } from "./checkpoint.ts";
import type { Checkpoint, VerifierKey } from "./checkpoint.ts";
import { HashTiles, splitTile } from "./hash-tiles.ts";
import type { HashTile } from "./hash-tiles.ts";
import type { LogDisk } from "./log-disk.ts";
import { HASH_BYTES, hashLeaf, rootOfHashes } from "./merkle.ts";
import { readBundle, TILE_WIDTH, tilePath } from "./tile-paths.ts";

/** What opening found and mended. */
export interface RecoveryReport {
  /** Bytes behind the last whole entry, moved to the folder `cut`. */
  readonly cutBytes: number;
  /** Hash tiles that were missing, short or different from the entries. */
  readonly rebuiltTiles: number;
  /** How many of the newest entries were hashed again; older ones are vouched for by their hash tiles. */
  readonly rehashedEntries: number;
}

export interface Recovered {
  readonly tiles: HashTiles;
  readonly end: BundlePosition;
  readonly checkpoint: { readonly note: string; readonly size: number } | undefined;
  readonly report: RecoveryReport;
}

export interface RecoveryOptions {
  readonly folder: string;
  readonly disk: LogDisk;
  readonly key: VerifierKey;
  readonly now: Instant;
  /** How many full bundles, from the newest, are hashed again. */
  readonly rehashBundles: number;
}

const TILE_BYTES = TILE_WIDTH * HASH_BYTES;

export function recoverLog(options: RecoveryOptions): Recovered {
  const { folder } = options;
  const checkpoint = readCheckpoint(options);
  const { end, cut } = findEnd(options, checkpoint?.size ?? 0);
  const fullBundles = end.number + (end.entries === TILE_WIDTH ? 1 : 0);
  const size = end.number * TILE_WIDTH + end.entries;
  let first = Math.max(0, fullBundles - options.rehashBundles);
  let state = hashBundles(folder, fullBundles, first);
  if (checkpoint !== undefined && !rootAt(folder, state.hashes, checkpoint.size).equals(checkpoint.root)) {
    // Either an old tile or an entry is not what it was: the entries decide.
    first = 0;
    state = hashBundles(folder, fullBundles, first);
    if (!rootAt(folder, state.hashes, checkpoint.size).equals(checkpoint.root)) {
      throw contradiction(checkpoint, state.firstDifference);
    }
  }
  // Not before all of the above: a refusal says that nothing was changed.
  const cutBytes = cut();
  const leaves = end.entries === TILE_WIDTH ? [] : leafHashes(folder, fullBundles);
  const tiles = HashTiles.restore(state.hashes, leaves);
  const rebuilt = state.wrongTiles.concat(tiles.toKeep.splice(0).filter((tile) => !isOnDisk(folder, tile)));
  for (const tile of rebuilt) keepTile(options.disk, folder, tile);
  return {
    tiles,
    end,
    checkpoint: checkpoint && { note: checkpoint.note, size: checkpoint.size },
    report: { cutBytes, rebuiltTiles: rebuilt.length, rehashedEntries: size - first * TILE_WIDTH },
  };
}

export function keepTile(disk: LogDisk, folder: string, { level, number, bytes }: HashTile): void {
  const path = join(folder, tilePath(level, number));
  disk.makeFolder(join(path, ".."));
  disk.replace(path, bytes);
}

function readCheckpoint({ folder, key }: RecoveryOptions): (Checkpoint & { note: string }) | undefined {
  const note = readIfThere(join(folder, "checkpoint"))?.toString("utf8");
  if (note === undefined) {
    if (!existsSync(join(folder, tilePath("entries", 0)))) return undefined;
    throw new Fault(
      "audit_unavailable",
      "the audit log has entries and no checkpoint; put the file `checkpoint` back, or move the folder away to start a new log",
    );
  }
  const verified = verifyCheckpoint(note, key);
  if (!verified.ok) {
    throw new Fault(
      "audit_unavailable",
      `the checkpoint of the audit log cannot be believed: ${verified.reason}; put the right checkpoint and signing key back`,
    );
  }
  return { ...verified.value, note };
}

/** The last whole entry, unless the checkpoint vouches for more. `cut` puts aside what lies behind it, and counts it. */
function findEnd(
  { folder, now }: RecoveryOptions,
  signedSize: number,
): { end: BundlePosition; cut: () => number } {
  let number = Math.max(0, Math.floor((signedSize - 1) / TILE_WIDTH));
  for (;;) {
    const bytes = readIfThere(join(folder, tilePath("entries", number)));
    const { entries, length } = readBundle(bytes ?? Buffer.alloc(0));
    const sound = soundEntries(entries, signedSize - number * TILE_WIDTH);
    const kept = sound.reduce((sum, entry) => sum + 2 + entry.length, 0);
    const size = number * TILE_WIDTH + sound.length;
    const next = existsSync(join(folder, tilePath("entries", number + 1)));
    if (size < signedSize) throw tooShort(size, signedSize);
    const isWhole = sound.length === TILE_WIDTH && length === bytes?.length;
    if (isWhole && next) {
      number++;
      continue;
    }
    const place = { folder, now, number };
    return {
      end: { number, entries: sound.length, bytes: kept, exists: bytes !== undefined },
      cut: () => cutTail(place, bytes, kept) + (next ? setLaterAside(place) : 0),
    };
  }
}

/**
 * Entries up to the first that is not JSON, such as the empty ones that a file system makes of a torn write's zeros.
 * Signed ones are taken as they are: the root judges them.
 */
function soundEntries(entries: readonly Buffer[], signed: number): readonly Buffer[] {
  const torn = entries.findIndex((entry, index) => index >= signed && !isJson(entry));
  return torn < 0 ? entries : entries.slice(0, torn);
}

function isJson(entry: Buffer): boolean {
  try {
    JSON.parse(entry.toString("utf8"));
    return true;
  } catch {
    return false;
  }
}

interface Cut {
  readonly folder: string;
  readonly now: Instant;
  readonly number: number;
}

/** Moves what lies behind `length` to the folder `cut`. Returns how many bytes that were. */
function cutTail({ folder, now, number }: Cut, bytes: Buffer | undefined, length: number): number {
  if (bytes === undefined || bytes.length === length) return 0;
  const aside = join(folder, "cut");
  mkdirSync(aside, { recursive: true, mode: 0o700 });
  writeFileSync(join(aside, `${now}-bundle-${number}-from-${length}`), bytes.subarray(length), {
    mode: 0o600,
  });
  truncateSync(join(folder, tilePath("entries", number)), length);
  return bytes.length - length;
}

/** After a power cut a later bundle may have reached the disk while an earlier one did not. */
function setLaterAside({ folder, now, number }: Cut): number {
  const aside = join(folder, "cut");
  mkdirSync(aside, { recursive: true, mode: 0o700 });
  let moved = 0;
  for (let later = number + 1; ; later++) {
    const path = join(folder, tilePath("entries", later));
    if (!existsSync(path)) return moved;
    moved += statSync(path).size;
    renameSync(path, join(aside, `${now}-bundle-${later}`));
  }
}

interface HashedBundles {
  /** One hash per full bundle: level 1 of the tiles. */
  readonly hashes: Buffer[];
  readonly wrongTiles: HashTile[];
  /** First entry whose hash is not the one in its tile. */
  readonly firstDifference: number | undefined;
}

/** Hashes of all full bundles: from `first` on from their entries, before it from the tiles where there are any. */
function hashBundles(folder: string, count: number, first: number): HashedBundles {
  const hashes: Buffer[] = [];
  const wrongTiles: HashTile[] = [];
  let firstDifference: number | undefined;
  while (hashes.length < count) {
    const number = hashes.length;
    const upper = number % TILE_WIDTH === 0 ? readTile(folder, 1, number / TILE_WIDTH) : undefined;
    if (upper !== undefined && number + TILE_WIDTH <= first) {
      hashes.push(...splitTile(upper));
      continue;
    }
    const tile = readTile(folder, 0, number);
    if (tile !== undefined && number < first) {
      hashes.push(rootOfHashes(splitTile(tile)));
      continue;
    }
    const leaves = leafHashes(folder, number);
    if (leaves.length !== TILE_WIDTH) throw holeAt(number * TILE_WIDTH + leaves.length);
    hashes.push(rootOfHashes(leaves));
    const bytes = Buffer.concat(leaves);
    if (tile?.equals(bytes) === true) continue;
    wrongTiles.push({ level: 0, number, bytes });
    if (tile === undefined) continue;
    const different = splitTile(tile).findIndex((hash, index) => !hash.equals(leaves[index]!));
    firstDifference ??= number * TILE_WIDTH + different;
  }
  return { hashes, wrongTiles, firstDifference };
}

/** Root of the first `size` entries. */
function rootAt(folder: string, bundleHashes: readonly Buffer[], size: number): Buffer {
  const full = Math.floor(size / TILE_WIDTH);
  const rest = size % TILE_WIDTH;
  const last = rest === 0 ? [] : [rootOfHashes(leafHashes(folder, full), 0, rest)];
  return rootOfHashes([...bundleHashes.slice(0, full), ...last]);
}

function leafHashes(folder: string, number: number): Buffer[] {
  const bytes = readIfThere(join(folder, tilePath("entries", number))) ?? Buffer.alloc(0);
  return readBundle(bytes).entries.map(hashLeaf);
}

function readTile(folder: string, level: number, number: number): Buffer | undefined {
  const bytes = readIfThere(join(folder, tilePath(level, number)));
  return bytes?.length === TILE_BYTES ? bytes : undefined;
}

function isOnDisk(folder: string, { level, number, bytes }: HashTile): boolean {
  return readTile(folder, level, number)?.equals(bytes) === true;
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new Fault("audit_unavailable", `the audit log cannot be read: ${path}`, { cause: error });
  }
}

const NOTHING_CHANGED =
  "nothing was changed; put the folder back from a copy, or move it away to start a new log";

function tooShort(size: number, signedSize: number): Fault {
  return new Fault(
    "audit_unavailable",
    `the audit log contradicts its checkpoint: ${signedSize} entries were signed and only the first ${size} can be read; ${NOTHING_CHANGED}`,
  );
}

function holeAt(index: number): Fault {
  return new Fault(
    "audit_unavailable",
    `the audit log contradicts its checkpoint: entry ${index} was signed and cannot be read; ${NOTHING_CHANGED}`,
  );
}

function contradiction({ size }: Checkpoint, firstDifference: number | undefined): Fault {
  const place =
    firstDifference === undefined || firstDifference >= size
      ? "which entry differs cannot be told"
      : `entries before ${firstDifference} agree with their hashes and entry ${firstDifference} does not`;
  return new Fault(
    "audit_unavailable",
    `the audit log contradicts its checkpoint: the first ${size} entries have another root than was signed; ${place}; ${NOTHING_CHANGED}`,
  );
}
