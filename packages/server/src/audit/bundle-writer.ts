// SPDX-License-Identifier: Apache-2.0
/**
 * Puts entries into the open bundle, which is the final entries tile once it is full.
 *
 * Every entry is written into the page cache before `append` returns. A write that fails is taken back before
 * anything else may be written, so that there is never a hole or a torn entry with others behind it.
 */
import { dirname, join } from "node:path";
import type { LogDisk } from "./log-disk.ts";
import { frameEntries, TILE_WIDTH, tilePath } from "./tile-paths.ts";

/** Where the log ends. */
export interface BundlePosition {
  readonly number: number;
  readonly entries: number;
  readonly bytes: number;
  /** Whether there is a file of the bundle, which may be empty. */
  readonly exists: boolean;
}

export class BundleWriter {
  readonly #disk: LogDisk;
  readonly #folder: string;
  #number: number;
  #entries: number;
  #bytes: number;
  #file: number;
  /** Whether a failed write may have left bytes behind `#bytes`. */
  #torn = false;
  #unsynced = false;
  #retired: number[] = [];
  #newNames = new Set<string>();
  #lastSync: Promise<void> = Promise.resolve();

  constructor(disk: LogDisk, folder: string, end: BundlePosition) {
    this.#disk = disk;
    this.#folder = folder;
    this.#number = end.number;
    this.#entries = end.entries;
    this.#bytes = end.bytes;
    this.#file = this.#open(end.number, !end.exists);
  }

  /** How many entries one `append` may take: no more than go into one bundle. */
  get room(): number {
    return this.#entries === TILE_WIDTH ? TILE_WIDTH : TILE_WIDTH - this.#entries;
  }

  /** All or nothing. Throws what the disk said; the bundle is then as before, or refuses until it could be mended. */
  append(entries: readonly Buffer[]): void {
    if (this.#torn) this.#takeBack();
    if (this.#entries === TILE_WIDTH) this.#next();
    if (entries.length > this.room) throw new RangeError("the entries do not fit into one bundle");
    const frames = frameEntries(entries);
    try {
      for (let done = 0; done < frames.length;) {
        const written = this.#disk.write(this.#file, frames, done);
        if (written === 0) throw new Error("the disk took no bytes");
        done += written;
      }
    } catch (error) {
      this.#torn = true;
      this.#takeBackIfPossible();
      throw error;
    }
    this.#bytes += frames.length;
    this.#entries += entries.length;
    this.#unsynced = true;
  }

  /** Makes everything written before the call durable. May be called again before it is done. */
  sync(): Promise<void> {
    const done = this.#syncNow(this.#lastSync);
    this.#lastSync = done.catch(() => {});
    return done;
  }

  async #syncNow(before: Promise<void>): Promise<void> {
    const retired = this.#retired;
    const folders = this.#newNames;
    const files = this.#unsynced ? [...retired, this.#file] : retired;
    this.#retired = [];
    this.#newNames = new Set();
    this.#unsynced = false;
    try {
      for (const file of files) await this.#disk.sync(file);
      for (const folder of folders) await this.#disk.syncFolder(folder);
    } finally {
      // One that began before may still be busy with the same file.
      await before;
      for (const file of retired) this.#disk.close(file);
    }
  }

  close(): void {
    for (const file of this.#retired) this.#disk.close(file);
    this.#retired = [];
    this.#disk.close(this.#file);
  }

  #open(number: number, fresh: boolean): number {
    const path = join(this.#folder, tilePath("entries", number));
    this.#disk.makeFolder(dirname(path));
    const file = this.#disk.openToAppend(path, fresh);
    if (fresh) this.#rememberNames(dirname(path));
    return file;
  }

  #rememberNames(folder: string): void {
    this.#newNames.add(folder);
    // A thousandth bundle brings new folders: their names must last as well.
    if (this.#number % 1000 === 0 && folder !== this.#folder) this.#rememberNames(dirname(folder));
  }

  #next(): void {
    const file = this.#open(this.#number + 1, true);
    this.#retired.push(this.#file);
    this.#file = file;
    this.#number++;
    this.#entries = 0;
    this.#bytes = 0;
  }

  #takeBack(): void {
    this.#disk.truncate(this.#file, this.#bytes);
    this.#torn = false;
  }

  #takeBackIfPossible(): void {
    try {
      this.#takeBack();
    } catch {
      // Stays torn: the next append tries again before it writes, and refuses if it cannot.
    }
  }
}
