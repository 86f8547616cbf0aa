// SPDX-License-Identifier: Apache-2.0
/** A folder in memory, where there is one, that goes away with the process: files are made by the thousand. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MEMORY = "/dev/shm";

export function scratchFolder(): string {
  const folder = mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), "postern-fuzz-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
