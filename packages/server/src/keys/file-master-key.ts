// SPDX-License-Identifier: Apache-2.0
/**
 * The master key of an installation: 32 random bytes in a file of the owner alone, or behind a reference.
 *
 * A new key is made only where nothing is sealed yet. Whoever loses the key file gets told, not a new key
 * under which everything stored is silently worthless.
 */
import { randomBytes } from "node:crypto";
import { constants, readdirSync, rmSync } from "node:fs";
import { link, open, rename, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Fault } from "../kernel/fault.ts";
import { KEY_BYTES } from "./aes-gcm.ts";
import type { KeyEncryption } from "./key-encryption.ts";
import { masterKey } from "./master-key.ts";
import { resolveReference } from "./reference.ts";
import type { ReferenceSources } from "./reference.ts";

/** The key in the file at `path`; made there at the first start. `sealedUnder`: ids of keys the store depends on. */
export async function loadFileMasterKey(
  path: string,
  sealedUnder: readonly string[],
): Promise<KeyEncryption> {
  const next = await loadNextKey(path);
  if (next !== undefined && sealedUnder.includes(next.id)) {
    // A rotation reached the store and was interrupted before it reached the file.
    await settleNextKey(path);
    return requireMatch(next, sealedUnder, path);
  }
  const existing = await readKeyFile(path);
  if (existing !== undefined) return requireMatch(masterKey(existing), sealedUnder, path);
  if (sealedUnder.length > 0) {
    throw new Fault(
      "internal_error",
      `the master key is lost: the store holds secrets sealed under ${sealedUnder.join(", ")}, and there is no file ${path}: ` +
        "put the key file back from your backup; without it the secrets cannot be recovered and have to be set again in a new data folder. " +
        "Where servers share a database, each needs the same key: copy the file of another one, or use --master-key",
    );
  }
  return masterKey(await createKeyFile(path));
}

const nextFile = (path: string): string => `${path}.next`;

/** The key of a rotation that was begun; undefined where there is none. */
export async function loadNextKey(path: string): Promise<KeyEncryption | undefined> {
  const bytes = await readKeyFile(nextFile(path));
  return bytes === undefined ? undefined : masterKey(bytes);
}

/**
 * The key for a rotation, durable beside the present one before anything is sealed under it. One that an
 * interrupted rotation left is taken: it cannot be known here that nothing was sealed under it.
 */
export async function prepareNextKey(path: string): Promise<KeyEncryption> {
  return (await loadNextKey(path)) ?? masterKey(await createKeyFile(nextFile(path)));
}

/** Puts the next key in the place of the present one, which stays beside it for backups: its path, if there is one. */
export async function settleNextKey(path: string): Promise<string | undefined> {
  const existing = await readKeyFile(path);
  const kept = existing === undefined ? undefined : `${path}.old-${masterKey(existing).id.slice(3, 11)}`;
  try {
    if (kept !== undefined) {
      await link(path, kept).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "EEXIST") throw error;
      });
    }
    await rename(nextFile(path), path);
    await syncFolder(dirname(path));
  } catch (error) {
    throw new Fault(
      "internal_error",
      `the new master key cannot be put in place: rename ${nextFile(path)} to ${path}`,
      {
        cause: error,
      },
    );
  }
  return kept;
}

/** The key behind `file:/path` or `env:NAME`: 32 bytes in base64. Never made here. */
export async function loadReferencedMasterKey(
  reference: string,
  sources: ReferenceSources,
  sealedUnder: readonly string[],
): Promise<KeyEncryption> {
  const text = await resolveReference(reference, sources);
  const encoded = text.expose("encrypt").toString("latin1").trim();
  const bytes = Buffer.from(encoded, "base64");
  text.wipe();
  // Decoding skips what is not base64; only the round trip shows that nothing was skipped.
  if (bytes.length !== KEY_BYTES || bytes.toString("base64") !== encoded) {
    throw new Fault(
      "internal_error",
      `the master key in ${reference} is not 32 bytes in base64, make one with: openssl rand -base64 32`,
    );
  }
  return requireMatch(masterKey(bytes), sealedUnder, reference);
}

function requireMatch(key: KeyEncryption, sealedUnder: readonly string[], place: string): KeyEncryption {
  const others = sealedUnder.filter((id) => id !== key.id);
  if (others.length === 0) return key;
  throw new Fault(
    "internal_error",
    `wrong master key: ${place} holds ${key.id}, the store is sealed under ${others.join(", ")}: put the right key back`,
  );
}

async function readKeyFile(path: string): Promise<Buffer | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    const problem = code === "ELOOP" ? "is a symbolic link: put the file itself there" : "cannot be read";
    throw new Fault("internal_error", `the master key file ${path} ${problem}`, { cause: error });
  }
  try {
    return await readPrivately(file, path);
  } finally {
    await file.close();
  }
}

async function readPrivately(file: FileHandle, path: string): Promise<Buffer> {
  const refuse = (problem: string) => new Fault("internal_error", `the master key file ${path} ${problem}`);
  const stats = await file.stat();
  const own = process.getuid?.();
  if (!stats.isFile()) throw refuse("is not a plain file");
  if (own !== undefined && stats.uid !== own) {
    throw refuse(`belongs to user ${stats.uid}, the server runs as user ${own}`);
  }
  if (own !== undefined && (stats.mode & 0o077) !== 0) {
    throw refuse(
      `can be read or changed by other users, run: chmod 600 ${path}; then replace the secrets in it`,
    );
  }
  if (stats.size !== KEY_BYTES) {
    throw refuse(`has ${stats.size} bytes instead of ${KEY_BYTES}: put it back from your backup`);
  }
  return await file.readFile();
}

/** What a server left that was killed while it made a key: nothing was ever sealed under it. */
export function removeDrafts(path: string): void {
  const [folder, name] = [dirname(path), basename(path)];
  for (const found of readdirSync(folder))
    if (found.startsWith(name) && DRAFT.test(found)) rmSync(join(folder, found));
}

const DRAFT = /\.[0-9a-f]{12}\.new$/;

/**
 * Durable before anything is sealed under it, and complete or not there at all: a start that was
 * interrupted leaves no half key. Linking refuses where another start was faster.
 */
async function createKeyFile(path: string): Promise<Buffer> {
  const bytes = randomBytes(KEY_BYTES);
  const draft = `${path}.${randomBytes(6).toString("hex")}.new`;
  try {
    await writeDurably(draft, bytes);
    await link(draft, path);
  } catch (error) {
    throw new Fault("internal_error", `the master key file ${path} cannot be made`, { cause: error });
  } finally {
    await rm(draft, { force: true });
  }
  await syncFolder(dirname(path));
  return bytes;
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function writeDurably(path: string, bytes: Buffer): Promise<void> {
  const exclusive = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(path, exclusive, 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}
