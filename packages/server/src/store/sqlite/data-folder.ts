// SPDX-License-Identifier: Apache-2.0
/** Who may read the data folder: the account of the server and nobody else, or the server does not start. */
import { accessSync, closeSync, constants, lstatSync, mkdirSync, openSync, statSync } from "node:fs";
import type { Stats } from "node:fs";
import { Fault } from "../../kernel/fault.ts";

/** Makes the folder with mode 0700, or refuses one that others can get into. */
export function prepareDataFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new Fault("internal_error", `the data folder ${folder} cannot be made: choose another one`, {
      cause: error,
    });
  }
  const stats = statSync(folder);
  if (!stats.isDirectory())
    throw new Fault("internal_error", `${folder} is not a folder: choose another data folder`);
  refuseStrangers(folder, stats, "700");
}

/** Makes an empty file with mode 0600, or refuses one that others can read. */
export function preparePrivateFile(file: string): void {
  try {
    closeSync(openSync(file, "wx", 0o600));
    return;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
      throw new Fault(
        "internal_error",
        `${file} cannot be created: make its folder writable for the account of the server`,
        {
          cause: error,
        },
      );
    }
  }
  const stats = lstatSync(file);
  if (!stats.isFile()) throw new Fault("internal_error", `${file} is not a plain file: move it away`);
  refuseStrangers(file, stats, "600");
  // SQLite would open it for reading only and fail at the first write.
  try {
    accessSync(file, constants.W_OK);
  } catch (error) {
    throw new Fault("internal_error", `${file} cannot be written, run: chmod 600 ${file}`, { cause: error });
  }
}

function refuseStrangers(path: string, stats: Stats, mode: "600" | "700"): void {
  const own = process.getuid?.();
  if (own === undefined) return;
  if (stats.uid !== own) {
    throw new Fault(
      "internal_error",
      `${path} belongs to user ${stats.uid}, the server runs as user ${own}: ` +
        `start it as that user, or run: chown -R ${own} ${path}`,
    );
  }
  if ((stats.mode & 0o077) !== 0) {
    throw new Fault(
      "internal_error",
      `${path} can be read or changed by other users, run: chmod ${mode} ${path}`,
    );
  }
}
