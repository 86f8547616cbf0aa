// SPDX-License-Identifier: Apache-2.0
/** A folder for this process, in memory where there is some: files are made by the thousand. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MEMORY = "/dev/shm";
const root = existsSync(MEMORY) ? MEMORY : tmpdir();
const own = `postern-fuzz-${process.pid}-`;

export const scratchFolder = (): string => mkdtempSync(join(root, own));

/** All of this process: a worker that is ended has no time to do so itself. */
export function removeScratchFolders(): void {
  for (const name of readdirSync(root))
    if (name.startsWith(own)) rmSync(join(root, name), { recursive: true, force: true });
}
