// SPDX-License-Identifier: Apache-2.0
/**
 * Where are the programs that build the sandbox, such that no agent can have put them there?
 *
 * The user's PATH often begins with a folder that an agent may write to; what is found there runs before there is
 * any sandbox.
 */
import { realpathSync, statSync } from "node:fs";
import { delimiter, dirname, isAbsolute, join } from "node:path";

const SYSTEM_FOLDERS = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
/** Usual too, but on some machines open to a group: judged like the folders of PATH. */
const OTHER_FOLDERS = ["/usr/local/bin", "/run/wrappers/bin", "/run/current-system/sw/bin"];

/** The file of `name`; undefined where there is none that can be trusted. */
export function systemProgram(
  name: string,
  searchPath: string = process.env["PATH"] ?? "",
  systemFolders: readonly string[] = SYSTEM_FOLDERS,
): string | undefined {
  const own = systemFolders.map((folder) => join(folder, name)).find(isFile);
  if (own !== undefined) return own;
  return [...OTHER_FOLDERS, ...searchPath.split(delimiter).filter((folder) => isAbsolute(folder))]
    .map((folder) => join(folder, name))
    .filter(isFile)
    .map((path) => realpathSync(path))
    .find((path) => belongsToSystem(path));
}

/** Root's, and changed by nobody else, up to the root of the file system. */
export function belongsToSystem(path: string): boolean {
  for (let each = path; ; each = dirname(each)) {
    const { uid, mode } = statSync(each);
    // In a sticky folder (the Nix store) others cannot replace what is root's.
    const mayBeShared = each !== path && each !== dirname(path) && (mode & 0o1000) !== 0;
    if (uid !== 0 || ((mode & 0o022) !== 0 && !mayBeShared)) return false;
    if (each === dirname(each)) return true;
  }
}

function isFile(path: string): boolean {
  try {
    const stats = statSync(path);
    return stats.isFile() && (stats.mode & 0o111) !== 0;
  } catch {
    return false;
  }
}
