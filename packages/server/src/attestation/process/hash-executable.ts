// SPDX-License-Identifier: Apache-2.0
/** What is the SHA-256 of the file that a process runs? */
import { createHash } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import { refuse, ok, type Result } from "../../kernel/result.ts";
import { fileKey } from "./proc.ts";

const CHUNK = 1024 * 1024;
const REMEMBERED = 256;

/** Hashes executables off the event loop and remembers them as long as their files do not change. */
export class ExecutableHashes {
  readonly #known = new Map<string, Promise<string>>();

  /**
   * Reads through `/proc/PID/exe`, which is the running file itself, whatever its path leads to by now.
   * Refuses when that is no longer the file with `key`.
   */
  async hash(pid: number, key: string): Promise<Result<string, string>> {
    let file: FileHandle;
    try {
      file = await open(`/proc/${pid}/exe`);
    } catch {
      return refuse("the executable of the caller cannot be read");
    }
    if (fileKey(await file.stat({ bigint: true })) !== key) {
      await file.close();
      return refuse("the caller started another program meanwhile");
    }
    const hash = this.#known.get(key) ?? hashFile(file, key);
    this.#remember(key, hash);
    try {
      return ok(await hash);
    } catch {
      this.#known.delete(key);
      return refuse("the executable of the caller cannot be read, or changed meanwhile");
    } finally {
      await file.close();
    }
  }

  #remember(key: string, hash: Promise<string>): void {
    if (this.#known.size >= REMEMBERED) this.#known.delete(this.#known.keys().next().value!);
    this.#known.set(key, hash);
  }
}

async function hashFile(file: FileHandle, key: string): Promise<string> {
  const hash = createHash("sha256");
  const chunk = Buffer.allocUnsafe(CHUNK);
  for (let position = 0; ;) {
    // Each chunk needs the end of the one before.
    // eslint-disable-next-line no-await-in-loop
    const { bytesRead } = await file.read(chunk, 0, CHUNK, position);
    if (bytesRead === 0) break;
    hash.update(chunk.subarray(0, bytesRead));
    position += bytesRead;
  }
  if (fileKey(await file.stat({ bigint: true })) !== key)
    throw new Error("the file changed while it was read");
  return hash.digest("hex");
}
