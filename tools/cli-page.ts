// SPDX-License-Identifier: Apache-2.0
/** What does `docs/cli.md` say? Made from the table of commands, so that it cannot say anything else. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Command } from "../packages/cli/src/command.ts";
import { commands } from "../packages/cli/src/commands.ts";
import { formatted, table } from "./markdown.ts";

const MAIN = fileURLToPath(new URL("../packages/cli/src/main.ts", import.meta.url));

export function cliPage(): Promise<string> {
  const common = commonFlags();
  return formatted(
    [
      "# Commands",
      "",
      "Written by `tools/write-docs.ts` from the table of commands; do not edit it here. `postern COMMAND --help` says the same.",
      "",
      "Exit codes: 0 done, 1 refused or failed, 2 wrong usage. `postern run` gives the exit code of the command that it ran.",
      "",
      "Every command takes these flags:",
      "",
      table(["flag", "meaning"], common),
      "",
      "A _data folder_ holds one installation: [what is in it](storage.md). Settings from the environment: [config.md](config.md).",
      "",
      ...commands.flatMap(commandSection),
    ].join("\n"),
  );
}

function commandSection({ name, usage, summary, details, flags }: Command): string[] {
  const rows = Object.entries(flags).map(([flag, { short, value, help }]) => [
    `\`${short === undefined ? "" : `-${short}, `}--${flag}${value === undefined ? "" : ` ${value}`}\``,
    help,
  ]);
  return [
    `## postern ${name}`,
    "",
    `\`postern ${usage}\``,
    "",
    `${summary[0]!.toUpperCase()}${summary.slice(1)}.`,
    "",
    ...(details === undefined ? [] : [...details.split("\n").map(exampleAsCode), ""]),
    ...(rows.length === 0 ? [] : [table(["flag", "meaning"], rows), ""]),
  ];
}

const exampleAsCode = (line: string): string => line.replace(/^Example: (.*)$/, "\nExample: `$1`");

/** The flags of a command that has none of its own, as it prints them. */
function commonFlags(): string[][] {
  const { stdout } = spawnSync(process.execPath, ["--no-warnings", MAIN, "status", "--help"], {
    encoding: "utf8",
  });
  const rows = stdout.split("\n").flatMap((line) => {
    const [, flag, help] = /^ {2}(-\S.*?) {2,}(\S.*)$/.exec(line) ?? [];
    return flag === undefined || help === undefined ? [] : [[`\`${flag}\``, help]];
  });
  if (rows.length === 0) throw new Error("`postern status --help` shows no flag");
  return rows;
}
