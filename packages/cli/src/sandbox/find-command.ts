// SPDX-License-Identifier: Apache-2.0
/** Which file does a command name mean, and what does a shell say when it means none? */
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import type { EntryReport } from "./plan.ts";

type Failure = Extract<EntryReport, { failed: unknown }>["failed"];

/** Looks like `execvp(3)`: a name with a slash is a path, any other is searched in `searchPath`. */
export function findCommand(
  name: string,
  searchPath: string | undefined,
  cwd: string,
): { ok: true; value: string } | { ok: false; reason: Failure } {
  const candidates = name.includes("/")
    ? [resolve(cwd, name)]
    : (searchPath ?? "/usr/local/bin:/usr/bin:/bin")
        .split(":")
        .map((folder) => join(resolve(cwd, folder), name));
  let forbidden = false;
  for (const path of name === "" ? [] : candidates) {
    if (!existsSync(path)) continue;
    if (statSync(path).isFile() && mayExecute(path)) return { ok: true, value: path };
    forbidden = true;
  }
  return forbidden
    ? { ok: false, reason: { code: 126, message: `${name}: not executable` } }
    : { ok: false, reason: { code: 127, message: `${name}: command not found` } };
}

function mayExecute(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
