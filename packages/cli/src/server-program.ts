// SPDX-License-Identifier: Apache-2.0
/** Which program is the server? What `tools/build.ts` made of its sources, or the sources themselves. */
import { spawnSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * The path to start. Builds first where the sources have changed; where that cannot be done, for want of the bundler
 * or of the right to write, the sources start as they are: slower, and with more memory.
 */
export function serverProgram(source = fileURLToPath(import.meta.resolve("@postern/server"))): string {
  const folder = dirname(dirname(source));
  const built = join(folder, "dist/main.js");
  if (isOfItsSources(built)) return built;
  spawnSync(process.execPath, [join(folder, "../../tools/build.ts")], { stdio: "ignore" });
  return isOfItsSources(built) ? built : source;
}

/** Its first line holds path, size and time of change of each source. */
export function isOfItsSources(program: string): boolean {
  try {
    const text = readFileSync(program, "utf8");
    const sources: unknown = JSON.parse(text.slice("// ".length, text.indexOf("\n")));
    return (
      Array.isArray(sources) && sources.length > 0 && sources.every((source) => isAsItWas(program, source))
    );
  } catch {
    return false;
  }
}

function isAsItWas(program: string, source: [path: string, size: number, changedAt: number]): boolean {
  const { size, mtimeMs } = statSync(join(dirname(program), source[0]));
  return size === source[1] && mtimeMs === source[2];
}
