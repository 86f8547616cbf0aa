// SPDX-License-Identifier: Apache-2.0
/** Writes a small file of the data folder so that it is there whole, and durably, or not at all. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** A server that is killed in between leaves a draft, which the next one replaces. */
export function writeWhole(file: string, content: string, mode: number): void {
  const draft = `${file}.new`;
  rmSync(draft, { force: true });
  synced(openSync(draft, "wx", mode), (descriptor) => writeFileSync(descriptor, content));
  renameSync(draft, file);
  synced(openSync(dirname(file), "r"), () => {});
}

function synced(descriptor: number, write: (descriptor: number) => void): void {
  try {
    write(descriptor);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
