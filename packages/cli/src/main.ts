// SPDX-License-Identifier: Apache-2.0
/** The `postern` command: finds the command meant, reads its flags, and says errors with the next step. */
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type Command, FilesError, type Flag, type Invocation, parseOptions, UsageError } from "./command.ts";
import { commands } from "./commands.ts";
import { ControlClient, ControlError } from "./control-client.ts";
import { commandHelp, COMMON_FLAGS, overview } from "./help.ts";

// A reader that goes away, as `head` does, has seen enough: that is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit();
  throw error;
});

const argv = process.argv.slice(2);
process.exitCode = await main(argv);

async function main(words: readonly string[]): Promise<number> {
  const [first] = words;
  if (first === undefined || first === "--help" || first === "-h" || first === "help") {
    process.stdout.write(overview(commands));
    return first === undefined ? 2 : 0;
  }
  const found = findCommand(words);
  if (found === undefined) return wrongUsage(`there is no command ${first}`, undefined);
  try {
    return await runCommand(found.command, found.rest);
  } catch (error) {
    return explain(error, found.command, words.includes("--json"));
  }
}

function findCommand(words: readonly string[]): { command: Command; rest: readonly string[] } | undefined {
  const two = commands.find(({ name }) => name === `${words[0]} ${words[1]}`);
  if (two !== undefined) return { command: two, rest: words.slice(2) };
  const one = commands.find(({ name }) => name === words[0]);
  return one === undefined ? undefined : { command: one, rest: words.slice(1) };
}

async function runCommand(command: Command, words: readonly string[]): Promise<number> {
  const flags = { ...COMMON_FLAGS, ...command.flags };
  const { own, rest } = command.passesRest === true ? splitRest(words, flags) : { own: words, rest: [] };
  let parsed;
  try {
    parsed = parseArgs({
      args: [...own],
      options: parseOptions(flags),
      allowPositionals: true,
      strict: true,
    });
  } catch (error) {
    throw new UsageError((error as Error).message.split(". ")[0]);
  }
  if (parsed.values["help"] === true) {
    process.stdout.write(commandHelp(command, flags));
    return 0;
  }
  const dataFolder = resolve(
    (parsed.values["data"] as string | undefined) ?? process.env["POSTERN_HOME"] ?? defaultDataFolder(),
  );
  const invocation: Invocation = {
    flags: parsed.values,
    words: [...parsed.positionals, ...rest],
    json: parsed.values["json"] === true,
    dataFolder,
    control: new ControlClient(dataFolder),
    environment: process.env,
    print: (text) => void process.stdout.write(`${text}\n`),
    note: (text) => void process.stderr.write(`postern: ${text}\n`),
  };
  return command.run(invocation);
}

/** Own flags end at `--` or at the first word that is not a flag: the rest is the agent's command line. */
function splitRest(
  words: readonly string[],
  flags: Readonly<Record<string, Flag>>,
): { own: readonly string[]; rest: readonly string[] } {
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === "--") return { own: words.slice(0, i), rest: words.slice(i + 1) };
    if (!word.startsWith("-")) return { own: words.slice(0, i), rest: words.slice(i) };
    const takesValue = flags[word.slice(2)]?.type === "string";
    if (takesValue) i++;
  }
  return { own: words, rest: [] };
}

function defaultDataFolder(): string {
  return join(process.env["XDG_DATA_HOME"] ?? join(homedir(), ".local", "share"), "postern");
}

function wrongUsage(message: string, command: Command | undefined): number {
  const help = command === undefined ? "postern --help" : `postern ${command.name} --help`;
  process.stderr.write(`postern: ${message}\n  see \`${help}\`\n`);
  return 2;
}

function explain(error: unknown, command: Command, json: boolean): number {
  if (error instanceof UsageError) return wrongUsage(error.message, command);
  const problem = error instanceof ControlError ? error.problem : undefined;
  const message = error instanceof Error ? error.message : String(error);
  const places = error instanceof FilesError ? error.places : problem?.places;
  const shown = problem ?? { detail: message, ...(places === undefined ? {} : { places }) };
  if (json) process.stdout.write(`${JSON.stringify({ problem: shown })}\n`);
  process.stderr.write(`postern: ${message}\n`);
  for (const place of places ?? [])
    process.stderr.write(`  ${place.file}:${place.line}:${place.column} ${place.path}: ${place.message}\n`);
  if (problem !== undefined && problem.places === undefined)
    process.stderr.write(`  next: ${problem.nextStep}\n`);
  return 1;
}
