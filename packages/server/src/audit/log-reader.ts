// SPDX-License-Identifier: Apache-2.0
/** Reads entries and hashes back from the folder of a log. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Fault } from "../kernel/fault.ts";
import { HASH_BYTES } from "./merkle.ts";
import { readBundle, TILE_WIDTH, tilePath } from "./tile-paths.ts";

export interface LogEntry {
  readonly index: number;
  /** The exact bytes that were hashed. */
  readonly bytes: Buffer;
}

/** Which event is meant: a text that stands in its bytes, and the exact test. */
export interface EventMatch {
  readonly text: string;
  readonly matches: (event: ReadEvent) => boolean;
}

interface ReadEvent {
  readonly metadata?: { readonly uid?: unknown };
  readonly unmapped?: Readonly<Record<string, unknown>>;
}

export async function* readEntries(folder: string, from: number, to: number): AsyncGenerator<LogEntry> {
  for (let index = from; index < to;) {
    const number = Math.floor(index / TILE_WIDTH);
    const first = number * TILE_WIDTH;
    const wanted = await readBundleEntries(folder, number, Math.min(to - first, TILE_WIDTH));
    for (const bytes of wanted.slice(index - first)) yield { index: index++, bytes };
  }
}

/** Looks from the newest entry back. */
export async function findEvent(
  folder: string,
  size: number,
  { text, matches }: EventMatch,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const wanted = Buffer.from(text, "utf8");
  if (wanted.length === 0) return undefined;
  for (let number = Math.ceil(size / TILE_WIDTH) - 1; number >= 0; number--) {
    const entries = await readBundleEntries(folder, number, Math.min(size - number * TILE_WIDTH, TILE_WIDTH));
    for (const entry of entries.toReversed()) {
      if (!entry.includes(wanted)) continue;
      const event = JSON.parse(entry.toString("utf8")) as ReadEvent & Record<string, unknown>;
      if (matches(event)) return event;
    }
  }
  return undefined;
}

export async function readHashTile(folder: string, level: number, number: number): Promise<Buffer> {
  const bytes = await read(folder, tilePath(level, number));
  if (bytes.length !== TILE_WIDTH * HASH_BYTES) {
    throw new Fault("audit_unavailable", `a hash tile of the audit log is short: ${tilePath(level, number)}`);
  }
  return bytes;
}

async function readBundleEntries(folder: string, number: number, count: number): Promise<Buffer[]> {
  const path = tilePath("entries", number);
  const { entries } = readBundle(await read(folder, path), count);
  if (entries.length < count) {
    throw new Fault("audit_unavailable", `entries of the audit log are missing: ${path}`);
  }
  return entries;
}

async function read(folder: string, path: string): Promise<Buffer> {
  try {
    return await readFile(join(folder, path));
  } catch (error) {
    throw new Fault("audit_unavailable", `the audit log cannot be read: ${path}`, { cause: error });
  }
}
