// SPDX-License-Identifier: Apache-2.0
/** The few file operations that the audit log writes with; a port, so that a test can make a disk fail. */
import {
  closeSync,
  fdatasync,
  fsync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;

export interface LogDisk {
  /** Opens for appending; with `fresh`, fails where there is a file already. */
  openToAppend(path: string, fresh: boolean): number;
  /** Number of bytes written, which may be fewer than given. */
  write(file: number, bytes: Buffer, offset: number): number;
  truncate(file: number, length: number): void;
  close(file: number): void;
  /** Makes the content of the file durable. */
  sync(file: number): Promise<void>;
  /** Makes the names in the folder durable. */
  syncFolder(path: string): Promise<void>;
  makeFolder(path: string): void;
  /** Replaces the file; whoever reads it sees the old or the new content. */
  replace(path: string, bytes: Buffer): void;
  /** The same, and durable. */
  replaceDurably(path: string, bytes: Buffer): Promise<void>;
}

const fdatasyncOf = promisify(fdatasync);
const fsyncOf = promisify(fsync);

async function syncFolder(path: string): Promise<void> {
  const folder = openSync(path, "r");
  try {
    await fsyncOf(folder);
  } finally {
    closeSync(folder);
  }
}

function writeTemporary(path: string, bytes: Buffer): { temporary: string; file: number } {
  const temporary = join(dirname(path), ".new");
  const file = openSync(temporary, "w", FILE_MODE);
  try {
    for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
  } catch (error) {
    closeSync(file);
    throw error;
  }
  return { temporary, file };
}

export const nodeDisk: LogDisk = {
  openToAppend: (path, fresh) => openSync(path, fresh ? "ax" : "a", FILE_MODE),
  write: (file, bytes, offset) => writeSync(file, bytes, offset),
  truncate: ftruncateSync,
  close: closeSync,
  sync: fdatasyncOf,
  syncFolder,
  makeFolder: (path) => {
    mkdirSync(path, { recursive: true, mode: FOLDER_MODE });
  },
  replace(path, bytes) {
    const { temporary, file } = writeTemporary(path, bytes);
    closeSync(file);
    renameSync(temporary, path);
  },
  async replaceDurably(path, bytes) {
    const { temporary, file } = writeTemporary(path, bytes);
    try {
      await fsyncOf(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
    await syncFolder(dirname(path));
  },
};
