// SPDX-License-Identifier: Apache-2.0
/** Which resource files does `-f` name? */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { UsageError } from "../command.ts";

export const fileFlag = {
  file: {
    type: "string",
    short: "f",
    multiple: true,
    value: "FILE",
    help: "YAML file, a folder of them, or - for standard input; may be repeated",
  },
} as const;

export interface ResourceFile {
  readonly name: string;
  readonly text: string;
}

export const readResourceFiles = (names: readonly string[]): ResourceFile[] => names.flatMap(readFiles);

function readFiles(name: string): ResourceFile[] {
  try {
    if (name === "-") return [{ name: "(standard input)", text: readFileSync(0, "utf8") }];
    if (!statSync(name).isDirectory()) return [{ name, text: readFileSync(name, "utf8") }];
    const inside = readdirSync(name)
      .filter((file) => /\.ya?ml$/.test(file))
      .sort();
    if (inside.length === 0) throw new UsageError(`no YAML file in ${name}`);
    return inside.flatMap((file) => readFiles(join(name, file)));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`cannot read ${name} (${(error as NodeJS.ErrnoException).code ?? "failed"})`);
  }
}
