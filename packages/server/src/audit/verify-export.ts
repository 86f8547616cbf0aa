// SPDX-License-Identifier: Apache-2.0
/**
 * Is this export what the log signed, byte for byte? Works offline, as a stream, in constant memory.
 *
 * Depends on `node:crypto` alone (through `merkle.ts` and `checkpoint.ts`) and on no state of a server.
 */
import { ok, refuse } from "../kernel/result.ts";
import type { Result } from "../kernel/result.ts";
import { parseVkey, verifyCheckpoint } from "./checkpoint.ts";
import type { VerifierKey } from "./checkpoint.ts";
import { CompactRange, HASH_BYTES, hashLeaf, subtreesOf } from "./merkle.ts";

export interface ExportVerified {
  readonly entries: number;
  /** Index of the first entry; over 0 where the export is of a part. */
  readonly from: number;
  /** Number of entries that the checkpoint covers. */
  readonly size: number;
  readonly origin: string;
  /** Base64. */
  readonly root: string;
  /** Whether the key was the caller's own; otherwise the export vouches for itself only. */
  readonly keyPinned: boolean;
  readonly firstTime: number | undefined;
  readonly lastTime: number | undefined;
}

export type ExportRefusalCode =
  | "header_invalid"
  | "key_invalid"
  | "key_mismatch"
  | "entry_invalid"
  | "checkpoint_missing"
  | "checkpoint_invalid"
  | "size_mismatch"
  | "root_mismatch"
  | "truncated";

export interface ExportRefusal {
  readonly reason: ExportRefusalCode;
  /** From 1. */
  readonly line?: number;
  readonly detail: string;
}

export interface VerifyExportOptions {
  /** The key that the caller trusts, from somewhere else than the export. */
  readonly vkey?: string | undefined;
  /** Is given every entry as it is read. What it made of them counts for nothing where the export is refused. */
  readonly onEntry?: ((entry: Buffer) => void) | undefined;
}

type Verified = Result<ExportVerified, ExportRefusal>;

const MAX_ENTRY_BYTES = 65_535;
const MAX_LINE_BYTES = 131_072;
const NEWLINE = 0x0a;

/** Checks a file as it lies on disk; every line must end with a line feed and nothing else. */
export async function verifyExportBytes(
  chunks: AsyncIterable<Uint8Array>,
  options: VerifyExportOptions = {},
): Promise<Verified> {
  const splitter = new LineSplitter();
  const verified = await verifyExport(splitter.split(chunks), options);
  if (!verified.ok || splitter.endedWhole) return verified;
  return refuse({ reason: "truncated", detail: "the last line has no line end" });
}

/** Checks the lines of an export, each without its line end. */
export async function verifyExport(
  lines: AsyncIterable<string | Uint8Array>,
  options: VerifyExportOptions = {},
): Promise<Verified> {
  let line = 0;
  let header: Header | undefined;
  let held: Buffer | undefined;
  let entries: EntryRange | undefined;
  for await (const raw of lines) {
    const bytes = typeof raw === "string" ? Buffer.from(raw, "utf8") : Buffer.from(raw);
    line++;
    if (header === undefined || entries === undefined) {
      const parsed = parseHeader(bytes, options.vkey);
      if (!parsed.ok) return refuse({ ...parsed.reason, line });
      header = parsed.value;
      entries = new EntryRange(header, options.onEntry);
      continue;
    }
    // One line is held back: the last one is the checkpoint.
    if (held !== undefined && !entries.append(held)) {
      return refuse({ reason: "entry_invalid", line: line - 1, detail: "an entry has 1 to 65535 bytes" });
    }
    held = bytes;
  }
  if (header === undefined || entries === undefined) {
    return refuse({ reason: "header_invalid", detail: "the export is empty" });
  }
  if (held === undefined)
    return refuse({ reason: "checkpoint_missing", line, detail: "the export ends early" });
  const verified = verifyTail(held, header, entries);
  return verified.ok ? verified : refuse({ ...verified.reason, line });
}

interface Header {
  readonly key: VerifierKey;
  readonly keyPinned: boolean;
  readonly from: number;
  readonly before: readonly Buffer[];
}

class EntryRange {
  readonly tree = new CompactRange();
  count = 0;
  #first: Buffer | undefined;
  #last: Buffer | undefined;
  readonly #onEntry: ((entry: Buffer) => void) | undefined;

  constructor({ before, from }: Header, onEntry?: (entry: Buffer) => void) {
    appendSubtrees(this.tree, 0, from, before);
    this.#onEntry = onEntry;
  }

  append(entry: Buffer): boolean {
    if (entry.length === 0 || entry.length > MAX_ENTRY_BYTES) return false;
    this.tree.append(hashLeaf(entry));
    this.#first ??= entry;
    this.#last = entry;
    this.count++;
    this.#onEntry?.(entry);
    return true;
  }

  times(): { firstTime: number | undefined; lastTime: number | undefined } {
    return { firstTime: timeOf(this.#first), lastTime: timeOf(this.#last) };
  }
}

function verifyTail(line: Buffer, header: Header, entries: EntryRange): Verified {
  const { key, keyPinned, from } = header;
  const tail = parseTail(line);
  if (tail === undefined) {
    const detail = "the last line is not a checkpoint: the export was cut or changed there";
    return refuse({ reason: "checkpoint_missing", detail });
  }
  const checkpoint = verifyCheckpoint(tail.checkpoint, key);
  if (!checkpoint.ok) return refuse({ reason: "checkpoint_invalid", detail: checkpoint.reason });
  // Lines of other signers are not covered by anything, so an export has none.
  if (checkpoint.value.signatures !== 1) {
    return refuse({ reason: "checkpoint_invalid", detail: "the checkpoint has more than one signature" });
  }
  const { origin, root, size } = checkpoint.value;
  const end = from + entries.count;
  if (end > size || subtreesOf(end, size).length !== tail.after.length) {
    const detail = `the checkpoint covers ${size} entries and the export ends after ${end}`;
    return refuse({ reason: "size_mismatch", detail });
  }
  appendSubtrees(entries.tree, end, size, tail.after);
  if (!entries.tree.root().equals(root)) {
    return refuse({ reason: "root_mismatch", detail: "at least one entry is not what was signed" });
  }
  return ok({
    ...entries.times(),
    entries: entries.count,
    from,
    size,
    origin,
    root: root.toString("base64"),
    keyPinned,
  });
}

function appendSubtrees(tree: CompactRange, from: number, to: number, roots: readonly Buffer[]): void {
  for (const [position, { level }] of subtreesOf(from, to).entries()) {
    tree.appendSubtree(level, roots[position]!);
  }
}

function parseHeader(line: Buffer, pinned: string | undefined): Result<Header, ExportRefusal> {
  const invalid = (detail: string): Result<Header, ExportRefusal> =>
    refuse({ reason: "header_invalid", detail });
  const { origin, vkey, from = 0, before = [] } = parseObject(line);
  if (typeof origin !== "string" || typeof vkey !== "string")
    return invalid("the first line is not a header");
  if (typeof from !== "number" || !Number.isSafeInteger(from) || from < 0)
    return invalid("`from` is no index");
  const roots = parseRoots(before);
  if (roots?.length !== subtreesOf(0, from).length) return invalid("`before` does not fit `from`");
  const part = from === 0 ? {} : { from, before };
  const only = JSON.stringify({ postern_audit_export: 1, origin, vkey, ...part });
  if (!line.equals(Buffer.from(only))) return invalid("the header is not in the form that the export writes");
  const key = parseVkey(vkey);
  if (!key.ok) return invalid(key.reason);
  if (key.value.name !== origin) return invalid("the origin is not the name of the key");
  if (pinned !== undefined && !parseVkey(pinned).ok) {
    return refuse({ reason: "key_invalid", detail: "the key to check with is not `name+hash+key`" });
  }
  if (pinned !== undefined && pinned !== vkey) {
    return refuse({
      reason: "key_mismatch",
      detail: "the export names another key than the one to check with",
    });
  }
  return ok({ key: key.value, keyPinned: pinned !== undefined, from, before: roots });
}

function parseTail(line: Buffer): { checkpoint: string; after: readonly Buffer[] } | undefined {
  const { checkpoint, after } = parseObject(line);
  const roots = parseRoots(after ?? []);
  if (typeof checkpoint !== "string" || roots === undefined) return undefined;
  const only = JSON.stringify({ checkpoint, ...(roots.length === 0 ? {} : { after }) });
  return line.equals(Buffer.from(only)) ? { checkpoint, after: roots } : undefined;
}

function parseObject(line: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = line.length > MAX_LINE_BYTES ? undefined : JSON.parse(line.toString("utf8"));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function parseRoots(value: unknown): Buffer[] | undefined {
  if (!Array.isArray(value) || value.length > 128) return undefined;
  const roots = value.map((one) => (typeof one === "string" ? Buffer.from(one, "base64") : Buffer.alloc(0)));
  const fits = roots.every(
    (root, index) => root.length === HASH_BYTES && root.toString("base64") === value[index],
  );
  return fits ? roots : undefined;
}

function timeOf(entry: Buffer | undefined): number | undefined {
  if (entry === undefined) return undefined;
  const { time } = parseObject(entry);
  return typeof time === "number" ? time : undefined;
}

/** Splits at line feeds only: `node:readline` would also split at characters that may stand in an entry. */
class LineSplitter {
  #rest: Buffer = Buffer.alloc(0);

  /** Whether the last line had its line end. */
  get endedWhole(): boolean {
    return this.#rest.length === 0;
  }

  async *split(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      let bytes = Buffer.concat([this.#rest, chunk]);
      for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE)) {
        yield bytes.subarray(0, end);
        bytes = bytes.subarray(end + 1);
      }
      this.#rest = bytes;
      // No line of an export is so long; what follows is refused without being held.
      if (bytes.length > MAX_LINE_BYTES) break;
    }
    if (this.#rest.length > 0) yield this.#rest;
  }
}
