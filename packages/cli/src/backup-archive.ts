// SPDX-License-Identifier: Apache-2.0
/** Is this file a whole backup, and how does a data folder become of it? Nothing is believed before it was checked. */
import { createHash, randomUUID } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { BackupManifest } from "@postern/contract";

const BLOCK = 512;
const CHUNK = 1 << 20;
const LARGEST_MANIFEST = 64 << 20;
/** The only names that a backup holds: nothing else is written anywhere. */
const NAME =
  /^(postern\.db|ca\.pem|server\.id|master\.key|audit\/checkpoint|audit\/tile\/(entries|\d{1,2})(\/x?\d{3}){1,8})$/;

interface Sink {
  write(chunk: Buffer): void;
  end(): void;
}

/** The manifest, after every byte that it speaks of was compared with it. `open` gets the files as they come. */
export async function readArchive(
  file: string,
  open: (name: string) => Sink = () => ({ write() {}, end() {} }),
): Promise<BackupManifest> {
  const input = openSync(file, "r");
  try {
    const found = new Map<string, { size: number; sha256: string }>();
    for (let at = 0; ;) {
      const header = readHeader(input, at, file);
      at += BLOCK;
      if (header.name === "manifest.json") {
        if (header.size > LARGEST_MANIFEST) throw damaged(file);
        const chunks: Buffer[] = [];
        copy(input, at, header.size, file, (chunk) => chunks.push(chunk));
        return checkManifest(Buffer.concat(chunks), found, file);
      }
      if (!NAME.test(header.name) || found.has(header.name)) throw damaged(file);
      found.set(header.name, { size: header.size, sha256: copyFile(input, at, header, file, open) });
      at += Math.ceil(header.size / BLOCK) * BLOCK;
    }
  } finally {
    closeSync(input);
  }
}

/** Under its name only when everything was checked and is on disk. */
export async function restoreInto(file: string, folder: string): Promise<BackupManifest> {
  requireEmpty(folder);
  mkdirSync(dirname(folder), { recursive: true });
  const draft = `${folder}.restoring-${randomUUID()}`;
  mkdirSync(draft, { mode: 0o700 });
  try {
    const manifest = await readArchive(file, (name) => newFile(join(draft, name)));
    // Takes the place of an empty folder, and fails where somebody put something in meanwhile.
    renameSync(draft, folder);
    syncFolder(dirname(folder));
    return manifest;
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    throw error;
  }
}

function requireEmpty(folder: string): void {
  let names: string[] = [];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  if (names.length > 0)
    throw new Error(`${folder} is not empty: nothing is overwritten, choose a new folder`);
}

function newFile(path: string): Sink {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const out = openSync(path, "wx", path.endsWith("ca.pem") ? 0o644 : 0o600);
  return {
    write(chunk) {
      for (let done = 0; done < chunk.length;) done += writeSync(out, chunk, done);
    },
    end() {
      fsyncSync(out);
      closeSync(out);
      syncFolder(dirname(path));
    },
  };
}

function syncFolder(path: string): void {
  const folder = openSync(path, "r");
  fsyncSync(folder);
  closeSync(folder);
}

function copyFile(
  input: number,
  at: number,
  { name, size }: { readonly name: string; readonly size: number },
  file: string,
  open: (name: string) => Sink,
): string {
  const hash = createHash("sha256");
  const sink = open(name);
  try {
    copy(input, at, size, file, (chunk) => {
      hash.update(chunk);
      sink.write(chunk);
    });
  } finally {
    sink.end();
  }
  return hash.digest("hex");
}

function copy(input: number, at: number, size: number, file: string, take: (chunk: Buffer) => void): void {
  for (let done = 0; done < size;) {
    const chunk = Buffer.alloc(Math.min(CHUNK, size - done));
    const read = readSync(input, chunk, 0, chunk.length, at + done);
    if (read === 0) throw damaged(file);
    take(chunk.subarray(0, read));
    done += read;
  }
}

function readHeader(input: number, at: number, file: string): { name: string; size: number } {
  const header = Buffer.alloc(BLOCK);
  if (readSync(input, header, 0, BLOCK, at) !== BLOCK) throw damaged(file);
  const text = (from: number, to: number): string =>
    header.toString("latin1", from, to).replace(/\0.*$/s, "");
  const size = text(124, 136);
  const sum = header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0);
  if (text(257, 263) !== "ustar" || Number.parseInt(text(148, 156), 8) !== sum || !/^[0-7]{11}$/.test(size))
    throw damaged(file);
  return { name: text(0, 100), size: Number.parseInt(size, 8) };
}

function checkManifest(
  bytes: Buffer,
  found: ReadonlyMap<string, { size: number; sha256: string }>,
  file: string,
): BackupManifest {
  const manifest = parseManifest(bytes);
  if (manifest?.format !== undefined && manifest.format !== 1)
    throw new Error(`${file} was made by another version of postern: use that one`);
  const listed = Object.entries(manifest?.files ?? {});
  const isWhole =
    listed.length === found.size &&
    listed.every(([name, entry]) => {
      const there = found.get(name);
      return there !== undefined && there.size === entry?.size && there.sha256 === entry.sha256;
    });
  if (manifest?.format === undefined || !isWhole) throw damaged(file);
  return manifest as BackupManifest;
}

/** What is written there is not known to be of the type yet. */
type Unchecked = Partial<Omit<BackupManifest, "files">> & {
  readonly files?: Readonly<Record<string, BackupManifest["files"][string] | null>> | null;
};

function parseManifest(bytes: Buffer): Unchecked | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString("utf8"));
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

const damaged = (file: string): Error =>
  new Error(`${file} is not a whole backup of postern: use another one`);
