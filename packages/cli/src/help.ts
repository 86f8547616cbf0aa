// SPDX-License-Identifier: Apache-2.0
/** The text of `--help`, from the table of commands. */
import type { Command, Flag } from "./command.ts";

/** Flags of every command. */
export const COMMON_FLAGS: Readonly<Record<string, Flag>> = {
  data: { type: "string", value: "DIR", help: "data folder (POSTERN_HOME; ~/.local/share/postern)" },
  json: { type: "boolean", help: "print the result as JSON" },
  help: { type: "boolean", short: "h", help: "show this text" },
};

export function overview(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ usage }) => usage.length));
  const lines = commands.map(({ usage, summary }) => `  postern ${usage.padEnd(width)}  ${summary}`);
  return [
    "Postern: secretless access for AI agents.",
    "",
    ...lines,
    "",
    "Each command has --help; most have --json. Exit codes: 0 done, 1 refused or failed, 2 wrong usage;",
    "`postern run` gives the exit code of the command that it ran.",
    "",
  ].join("\n");
}

export function commandHelp(command: Command, flags: Readonly<Record<string, Flag>>): string {
  const rows = Object.entries(flags).map(([name, { short, value, help }]) => {
    const long = `--${name}${value === undefined ? "" : ` ${value}`}`;
    return [short === undefined ? long : `-${short}, ${long}`, help] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length));
  return [
    `postern ${command.usage}`,
    "",
    command.summary,
    ...(command.details === undefined ? [] : ["", command.details]),
    "",
    ...rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`),
    "",
  ].join("\n");
}
