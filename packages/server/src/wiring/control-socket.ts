// SPDX-License-Identifier: Apache-2.0
/** Where operators reach the server: the socket in its data folder, which takes the place of one that was left. */
import { chmodSync, lstatSync, rmSync } from "node:fs";
import type { Server } from "node:http";
import { join } from "node:path";
import { Fault } from "../kernel/fault.ts";

/** Bytes of a path that an address holds (`sun_path`, unix(7)). */
const LONGEST = process.platform === "darwin" ? 103 : 107;

/** The caller holds the lock of the folder, so a socket that is there belongs to no server any more. */
export async function listenForOperators(api: Server, dataFolder: string): Promise<{ remove(): void }> {
  const path = join(dataFolder, "control.sock");
  const length = Buffer.byteLength(path);
  if (length > LONGEST)
    throw new Fault(
      "internal_error",
      `the path ${path} is too long for a socket (${length} bytes, at most ${LONGEST}): choose a shorter one with --data`,
    );
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined && !found.isSocket())
    throw new Fault("internal_error", `${path} is not a socket: move it away`);
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    api.once("error", reject);
    api.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return { remove: () => rmSync(path, { force: true }) };
}
