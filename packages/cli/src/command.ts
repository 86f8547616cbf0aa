// SPDX-License-Identifier: Apache-2.0
/** What a command is: its words, its flags and what it does. The table of all is in `commands.ts`. */
import type { ParseArgsConfig } from "node:util";
import type { Place } from "@postern/contract";
import type { ControlClient } from "./control-client.ts";
import { printable } from "./printable.ts";

export interface Flag {
  readonly type: "string" | "boolean";
  readonly short?: string;
  readonly multiple?: boolean;
  /** Name of the value in `--help`. */
  readonly value?: string;
  readonly help: string;
}

export interface Invocation {
  readonly flags: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;
  readonly words: readonly string[];
  readonly json: boolean;
  readonly dataFolder: string;
  readonly control: ControlClient;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Results; with `--json` the only thing on standard output. */
  print(text: string): void;
  /** Progress and remarks, on standard error. */
  note(text: string): void;
}

export interface Command {
  /** `audit verify` for a command of two words. */
  readonly name: string;
  readonly usage: string;
  readonly summary: string;
  readonly flags: Readonly<Record<string, Flag>>;
  /** Whether the words after the first that is not a flag belong to somebody else's command line. */
  readonly passesRest?: boolean;
  /** More for `--help`. */
  readonly details?: string;
  /** Returns the exit code: 0 done, 1 refused or failed, 2 wrong usage. */
  run(invocation: Invocation): Promise<number>;
}

/** The files given hold something wrong: exit code 1. */
export class FilesError extends Error {
  readonly places: readonly Place[];

  constructor(message: string, places: readonly Place[]) {
    super(message);
    this.places = places;
  }
}

/** Wrong words on the command line: exit code 2. */
export class UsageError extends Error {}

export const parseOptions = (
  flags: Readonly<Record<string, Flag>>,
): NonNullable<ParseArgsConfig["options"]> =>
  Object.fromEntries(
    Object.entries(flags).map(([name, { type, short, multiple }]) => [
      name,
      { type, ...(short === undefined ? {} : { short }), ...(multiple === undefined ? {} : { multiple }) },
    ]),
  );

export const stringFlag = (value: unknown): string | undefined =>
  typeof value === "string" ? value : undefined;
export const listFlag = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : []);

/** A resource's name as it may be; what else stands there is a slip, such as a flag without its value. */
export function nameOf(word: string): string {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(word)) return word;
  throw new UsageError(
    `${JSON.stringify(printable(word))} is no name: use lower-case letters, digits and inner hyphens`,
  );
}

/** Exactly one word, named for the error message. */
export function oneWord(invocation: Invocation, what: string): string {
  const [word, ...rest] = invocation.words;
  if (word === undefined || rest.length > 0) throw new UsageError(`give exactly one ${what}`);
  return word;
}
