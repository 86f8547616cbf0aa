// SPDX-License-Identifier: Apache-2.0
/**
 * The append-only log on disk, in the layout of C2SP tlog-tiles, that every decision goes into before it takes effect.
 *
 * An entry is in the page cache when `append` returns, on disk when its `durable` resolves, and covered by a
 * signature within the checkpoint interval. A checkpoint never covers what is not on disk.
 */
import { resolve } from "node:path";
import type { Clock } from "../kernel/clock.ts";
import { Fault } from "../kernel/fault.ts";
import { BundleWriter } from "./bundle-writer.ts";
import { signCheckpoint } from "./checkpoint.ts";
import type { CheckpointSigner, VerifierKey } from "./checkpoint.ts";
import { encodeEvent } from "./encode-event.ts";
import type { AuditEvent } from "./event-frame.ts";
import { GroupSync } from "./group-sync.ts";
import type { HashTiles } from "./hash-tiles.ts";
import { takeLock } from "./lock.ts";
import { nodeDisk } from "./log-disk.ts";
import type { LogDisk } from "./log-disk.ts";
import { findEvent, readEntries, readHashTile } from "./log-reader.ts";
import type { EventMatch, LogEntry } from "./log-reader.ts";
import { hashLeaf } from "./merkle.ts";
import type { Subtree } from "./merkle.ts";
import { keepTile, recoverLog } from "./recovery.ts";
import type { Recovered, RecoveryReport } from "./recovery.ts";

export interface AuditLogOptions {
  readonly folder: string;
  readonly signer: CheckpointSigner;
  readonly clock: Clock;
  /** At most one checkpoint per this time, and only where there is something new. */
  readonly checkpointIntervalMs?: number;
  /** Hears of what goes wrong where no caller waits. */
  readonly onFault?: (error: unknown) => void;
  /** Hears how the disk does. Must be quick. */
  readonly watcher?: LogWatcher;
  /** How many of the newest full bundles (of 256 entries) are hashed again while opening. */
  readonly rehashBundles?: number;
  readonly disk?: LogDisk;
}

export interface LogWatcher {
  /** A group of entries became durable, within so many milliseconds. */
  synced(milliseconds: number): void;
  /** An entry could not be written, or a sync or a checkpoint failed. */
  failed(): void;
}

export interface AppendTicket {
  readonly index: number;
  /** Resolves when the entry is on disk; rejects with `audit_unavailable`. */
  readonly durable: Promise<void>;
}

export interface AuditLog {
  readonly key: VerifierKey;
  /** What opening found and mended. */
  readonly recovery: RecoveryReport;
  append(event: AuditEvent): AppendTicket;
  /**
   * The same for what nobody waits for: it is written together with the next entry, and at the end of this turn
   * of the event loop at the latest. Where that fails, the next `append` throws.
   */
  appendSoon(event: AuditEvent): void;
  size(): number;
  /** What stands in the way of the next entry, or of a checkpoint; undefined while all is well. */
  failure(): unknown;
  /** The exact bytes of the entries `from..to)`; without `to`, of all there are now. */
  entries(from?: number, to?: number): AsyncIterable<LogEntry>;
  /** The event with this id, looked for from the newest back. */
  find(eventId: string): Promise<Readonly<Record<string, unknown>> | undefined>;
  /** The outcome of a decision. */
  findOutcome(decisionId: string): Promise<Readonly<Record<string, unknown>> | undefined>;
  onAppend(listener: (entry: LogEntry) => void): () => void;
  /** Root of a complete subtree, for proofs and for exports of a part. */
  subtreeHash(subtree: Subtree): Promise<Buffer>;
  /** A durable signed checkpoint that covers everything written before the call. */
  checkpoint(): Promise<string>;
  close(): Promise<void>;
}

/** Entries that wait for the end of the turn. */
const MOST_WAITING = 256;

/** About 0.6 s of hashing; older entries are checked by `postern audit verify`. */
const REHASH_BUNDLES = 1024;

// oxlint-disable-next-line require-await -- a throw becomes a rejection, as the signature promises
export async function openAuditLog(options: AuditLogOptions): Promise<AuditLog> {
  const folder = resolve(options.folder);
  const disk = options.disk ?? nodeDisk;
  disk.makeFolder(folder);
  const release = takeLock(folder);
  try {
    const recovered = recoverLog({
      folder,
      disk,
      key: options.signer,
      now: options.clock.now(),
      rehashBundles: options.rehashBundles ?? REHASH_BUNDLES,
    });
    const log = new TiledLog({ ...options, folder, disk }, recovered, release);
    // From the first moment there is a checkpoint: entries without one are then a contradiction.
    if (recovered.checkpoint === undefined) await log.checkpoint();
    return log;
  } catch (error) {
    release();
    throw error;
  }
}

type OpenOptions = AuditLogOptions & { readonly folder: string; readonly disk: LogDisk };

class TiledLog implements AuditLog {
  readonly key: VerifierKey;
  readonly recovery: RecoveryReport;
  readonly #options: OpenOptions;
  readonly #tiles: HashTiles;
  readonly #bundles: BundleWriter;
  readonly #sync: GroupSync;
  readonly #release: () => void;
  readonly #listeners = new Set<(entry: LogEntry) => void>();
  /** What goes out with the next entry. */
  #soon: AuditEvent[] = [];
  #signed: { readonly note: string; readonly size: number } | undefined;
  #signing: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** Of the last entry and of the last checkpoint, until one succeeds. */
  #refused: unknown;
  #unsigned: unknown;

  constructor(options: OpenOptions, recovered: Recovered, release: () => void) {
    this.#options = options;
    this.key = { name: options.signer.name, publicKey: options.signer.publicKey };
    this.recovery = recovered.report;
    this.#tiles = recovered.tiles;
    this.#signed = recovered.checkpoint;
    this.#release = release;
    this.#bundles = new BundleWriter(options.disk, options.folder, recovered.end);
    this.#sync = new GroupSync(
      () => this.#syncBundles(),
      (error) => {
        options.watcher?.failed();
        const fault = unavailable("the audit log could not be made durable; restart the server", error);
        options.onFault?.(fault);
        return fault;
      },
    );
  }

  append(event: AuditEvent): AppendTicket {
    if (this.#closed) throw unavailable("the audit log is closed");
    if (this.#sync.failure !== undefined) {
      this.#options.watcher?.failed();
      throw unavailable("the audit log could not be made durable; restart the server", this.#sync.failure);
    }
    const entry = encoded(event);
    const index = this.#write([...this.#takeSoon(), entry]);
    const durable = this.#sync.request();
    this.#signLater();
    return { index, durable };
  }

  appendSoon(event: AuditEvent): void {
    if (this.#closed) return;
    if (this.#soon.length === 0) setImmediate(() => this.#writeSoon());
    this.#soon.push(event);
    // A turn that never ends must not fill the memory.
    if (this.#soon.length >= MOST_WAITING) this.#writeSoon();
  }

  /** What nobody asks after may fail unheard; the next entry that somebody waits for fails as well. */
  #writeSoon(): void {
    if (this.#soon.length === 0 || this.#sync.failure !== undefined) return;
    try {
      this.#write(this.#takeSoon());
      void this.#sync.request().catch(() => {});
      this.#signLater();
    } catch (error) {
      this.#options.onFault?.(error);
    }
  }

  #takeSoon(): Buffer[] {
    const soon = this.#soon;
    this.#soon = [];
    return soon.flatMap((event) => {
      const entry = encodeEvent(event);
      if (!entry.ok) this.#options.onFault?.(unavailable(entry.reason));
      return entry.ok ? [entry.value] : [];
    });
  }

  /** Returns the index of the last entry. */
  #write(entries: readonly Buffer[]): number {
    for (let at = 0; at < entries.length;) {
      const part = entries.slice(at, at + this.#bundles.room);
      try {
        this.#keepTiles();
        this.#bundles.append(part);
        this.#refused = undefined;
      } catch (error) {
        this.#refused = error;
        this.#options.watcher?.failed();
        throw unavailable("the audit log cannot be written", error);
      }
      for (const bytes of part) {
        const index = this.#tiles.size;
        this.#tiles.append(hashLeaf(bytes));
        for (const listener of this.#listeners) this.#tell(listener, { index, bytes });
      }
      at += part.length;
    }
    return this.#tiles.size - 1;
  }

  size(): number {
    return this.#tiles.size;
  }

  failure(): unknown {
    return this.#sync.failure ?? this.#refused ?? this.#unsigned;
  }

  entries(from = 0, to = this.size()): AsyncIterable<LogEntry> {
    return readEntries(this.#options.folder, from, Math.min(to, this.size()));
  }

  find(eventId: string): Promise<Readonly<Record<string, unknown>> | undefined> {
    return this.#find({ text: eventId, matches: (event) => event.metadata?.uid === eventId });
  }

  findOutcome(decisionId: string): Promise<Readonly<Record<string, unknown>> | undefined> {
    const matches: EventMatch["matches"] = ({ unmapped }) =>
      unmapped?.kind === "outcome" && unmapped.decision_id === decisionId;
    return this.#find({ text: decisionId, matches });
  }

  onAppend(listener: (entry: LogEntry) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  subtreeHash(subtree: Subtree): Promise<Buffer> {
    return this.#tiles.hashAt(subtree, async (level, number) => {
      const kept = this.#tiles.toKeep.find((tile) => tile.level === level && tile.number === number);
      return kept?.bytes ?? readHashTile(this.#options.folder, level, number);
    });
  }

  checkpoint(): Promise<string> {
    const next = this.#signing.then(() => this.#sign());
    this.#signing = next.catch(() => {});
    return next;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#writeSoon();
    this.#closed = true;
    clearTimeout(this.#timer);
    try {
      await this.checkpoint();
    } finally {
      this.#bundles.close();
      this.#release();
    }
  }

  async #sign(): Promise<string> {
    const size = this.#tiles.size;
    if (this.#signed?.size === size) return this.#signed.note;
    const root = this.#tiles.root();
    await this.#sync.request();
    const note = signCheckpoint({ size, root }, this.#options.signer);
    try {
      this.#keepTiles();
      await this.#options.disk.replaceDurably(resolve(this.#options.folder, "checkpoint"), Buffer.from(note));
    } catch (error) {
      throw unavailable("the checkpoint of the audit log cannot be written", error);
    }
    this.#signed = { note, size };
    this.#unsigned = undefined;
    return note;
  }

  async #syncBundles(): Promise<void> {
    const begun = performance.now();
    await this.#bundles.sync();
    this.#options.watcher?.synced(performance.now() - begun);
  }

  #leftUnsigned(error: unknown): void {
    this.#unsigned = error;
    this.#options.watcher?.failed();
    this.#options.onFault?.(error);
  }

  #signLater(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.checkpoint()
        .catch((error: unknown) => this.#leftUnsigned(error))
        .finally(() => {
          this.#timer = undefined;
          const done = this.#closed || this.#sync.failure !== undefined || this.#signed?.size === this.size();
          if (!done) this.#signLater();
        });
    }, this.#options.checkpointIntervalMs ?? 1000);
    this.#timer.unref();
  }

  /** Full hash tiles go to disk before the next entry; one that could not be written yet is tried again. */
  #keepTiles(): void {
    const { toKeep } = this.#tiles;
    for (let tile = toKeep[0]; tile !== undefined; tile = toKeep[0]) {
      keepTile(this.#options.disk, this.#options.folder, tile);
      toKeep.shift();
    }
  }

  #find(match: EventMatch): Promise<Readonly<Record<string, unknown>> | undefined> {
    return findEvent(this.#options.folder, this.size(), match);
  }

  #tell(listener: (entry: LogEntry) => void, entry: LogEntry): void {
    try {
      listener(entry);
    } catch (error) {
      this.#options.onFault?.(error);
    }
  }
}

function encoded(event: AuditEvent): Buffer {
  const bytes = encodeEvent(event);
  if (!bytes.ok) throw unavailable(bytes.reason);
  return bytes.value;
}

function unavailable(message: string, cause?: unknown): Fault {
  return new Fault("audit_unavailable", message, { cause });
}
