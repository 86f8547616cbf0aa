// SPDX-License-Identifier: Apache-2.0
/**
 * A backup of this server as one archive, taken while it runs. The database comes first and the audit log
 * after it: whatever was changed is then in the log, because changes are logged before they are stored.
 */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream, existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join, relative, sep } from "node:path";
import type { BackupManifest } from "@postern/contract";
import { Fault } from "../kernel/fault.ts";
import { KEY_BYTES } from "../keys/aes-gcm.ts";
import { masterKey } from "../keys/master-key.ts";
import { BACKUP_COPY, keyFile, type Storage } from "./open-storage.ts";
import { padding, TAR_END, tarHeader } from "./tar-archive.ts";

export interface BackupOptions {
  readonly dataFolder: string;
  readonly storage: Storage;
  readonly now: number;
  readonly withMasterKey: boolean;
}

interface Part {
  readonly name: string;
  readonly size: number;
  readonly content: Buffer | string;
}

/** Faults before the first bytes where it cannot be made as asked. The manifest is last: it proves the rest complete. */
export async function makeBackup(options: BackupOptions): Promise<AsyncIterable<Buffer>> {
  const { dataFolder, storage } = options;
  const { store } = storage;
  const masterKeyId = (await store.sealedValues.masterKeyId()) ?? storage.keys.current.id;
  const key = options.withMasterKey ? [readKey(dataFolder, masterKeyId)] : [];
  const copy = join(dataFolder, `${BACKUP_COPY}${randomUUID()}.db`);
  try {
    await store.copyTo?.(copy);
    const after = (await store.sealedValues.masterKeyId()) ?? masterKeyId;
    if (after !== masterKeyId)
      throw new Fault("resource_conflict", "the master key was rotated meanwhile: try again");
  } catch (error) {
    rmSync(copy, { force: true });
    throw error;
  }
  const database = store.copyTo === undefined ? [] : [filePart("postern.db", copy)];
  const own = ["ca.pem", "server.id"].filter((name) => existsSync(join(dataFolder, name)));
  const parts = [
    ...key,
    ...database,
    ...own.map((name) => filePart(name, join(dataFolder, name))),
    ...auditParts(dataFolder),
  ];
  const facts = {
    format: 1 as const,
    takenAt: new Date(options.now).toISOString(),
    store: store.copyTo === undefined ? ("postgres" as const) : ("sqlite" as const),
    masterKeyId,
    holdsMasterKey: options.withMasterKey,
  };
  return archive(parts, facts, options.now, () => rmSync(copy, { force: true }));
}

/** Only the key that opens what is in the backup: another one may lie there from before. */
function readKey(dataFolder: string, masterKeyId: string): Part {
  const file = keyFile(dataFolder);
  const content = existsSync(file) ? readFileSync(file) : Buffer.alloc(0);
  if (content.length !== KEY_BYTES || masterKey(Buffer.from(content)).id !== masterKeyId)
    throw new Fault(
      "resource_conflict",
      `the master key ${masterKeyId} is not in the data folder: keep it where it comes from, and take the backup without it`,
    );
  return { name: "master.key", size: content.length, content };
}

const filePart = (name: string, path: string): Part => ({ name, size: statSync(path).size, content: path });

/**
 * All in one turn of the event loop, in which nothing can be appended: checkpoint and lengths then belong
 * together, and what is appended while the files are read lies behind those lengths.
 */
function auditParts(dataFolder: string): Part[] {
  const folder = join(dataFolder, "audit");
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => path === join(folder, "checkpoint") || path.startsWith(join(folder, "tile") + sep));
  return files.toSorted().map((path) => {
    const name = `audit/${relative(folder, path).split(sep).join("/")}`;
    if (!name.endsWith("checkpoint")) return filePart(name, path);
    const content = readFileSync(path);
    return { name, size: content.length, content };
  });
}

async function* archive(
  parts: readonly Part[],
  facts: Omit<BackupManifest, "files">,
  now: number,
  done: () => void,
): AsyncIterable<Buffer> {
  try {
    const files: Record<string, { size: number; sha256: string }> = {};
    for (const part of parts) {
      const hash = createHash("sha256");
      yield tarHeader(part.name, part.size, now);
      for await (const chunk of contentOf(part)) {
        hash.update(chunk);
        yield chunk;
      }
      yield padding(part.size);
      files[part.name] = { size: part.size, sha256: hash.digest("hex") };
    }
    const manifest = Buffer.from(
      `${JSON.stringify({ ...facts, files } satisfies BackupManifest, null, 2)}\n`,
    );
    yield tarHeader("manifest.json", manifest.length, now);
    yield manifest;
    yield Buffer.concat([padding(manifest.length), TAR_END]);
  } finally {
    done();
  }
}

async function* contentOf({ content, size, name }: Part): AsyncIterable<Buffer> {
  if (typeof content !== "string") return void (yield content);
  if (size === 0) return;
  let read = 0;
  for await (const chunk of createReadStream(content, { end: size - 1 }) as AsyncIterable<Buffer>) {
    read += chunk.length;
    yield chunk;
  }
  if (read !== size) throw new Fault("internal_error", `${name} became shorter while it was read`);
}
