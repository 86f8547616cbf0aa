// SPDX-License-Identifier: Apache-2.0
/** How is an issue of the resource schema said to an operator, with the name that was probably meant? */
import { resourceSchema } from "@postern/contract";
import { z } from "zod";
import { nearestName } from "../kernel/nearest-name.ts";
import { hostProblem } from "./host-name.ts";
import type { ResourcePath } from "./places.ts";

export interface SchemaIssue {
  readonly path: ResourcePath;
  /** The key itself is wrong, not its value. */
  readonly isKey: boolean;
  readonly message: string;
}

/** One or more issues (an unknown key each) in words. `value` is the whole document. */
export function issuesInWords(issue: z.core.$ZodIssue, value: unknown): SchemaIssue[] {
  const path = issue.path.map((step) => (typeof step === "symbol" ? String(step) : step));
  const saw = valueAt(value, path);
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => ({
      path: [...path, key],
      isKey: true,
      message: unknownWord("key", key, freeKeysAt(value, path)),
    }));
  const last = path.at(-1);
  const misspelt = saw === undefined ? misspeltKey(issue, value, path) : undefined;
  if (misspelt !== undefined) return [misspelt];
  if (saw === undefined && last !== undefined)
    return [{ path: path.slice(0, -1), isKey: false, message: `missing \`${last}\`${optionsOf(issue)}` }];
  return [{ path, isKey: false, message: messageOf(issue, path, saw) }];
}

/** Of a union nobody can tell which keys it knows while the one that says which it is has another name. */
function misspeltKey(
  issue: z.core.$ZodIssue,
  value: unknown,
  path: readonly (string | number)[],
): SchemaIssue | undefined {
  const [last, around] = [path.at(-1), path.slice(0, -1)];
  const there = valueAt(value, around);
  if (issue.code !== "invalid_union" || typeof last !== "string") return undefined;
  if (typeof there !== "object" || there === null) return undefined;
  const key = Object.keys(there).find((each) => each.length <= 200 && nearestName(each, [last]) === last);
  if (key === undefined) return undefined;
  return { path: [...around, key], isKey: true, message: unknownWord("key", key, [last]) };
}

function optionsOf(issue: z.core.$ZodIssue): string {
  if (issue.code !== "invalid_union" || !("options" in issue) || !Array.isArray(issue.options)) return "";
  return `; one of ${issue.options.map(String).map(quote).join(", ")}`;
}

function messageOf(issue: z.core.$ZodIssue, path: ResourcePath, saw: unknown): string {
  switch (issue.code) {
    case "invalid_type":
      return `expected ${WORDS[issue.expected] ?? issue.expected}, found ${wordOf(saw)}`;
    case "invalid_value":
      return typeof saw === "string" && issue.values.some((value) => typeof value === "string")
        ? unknownWord(String(path.at(-1)), saw, issue.values.map(String))
        : `expected ${issue.values.map((value) => quote(String(value))).join(" or ")}`;
    case "invalid_union":
      if ("options" in issue && Array.isArray(issue.options))
        return unknownWord(String(path.at(-1)), String(saw), issue.options.map(String));
      return [...new Set(issue.errors.flat().map(({ message }) => lowerFirst(message)))].join(" or ");
    case "too_small":
    case "too_big":
      return `needs at ${sizeOf(issue)}`;
    default:
      return (
        (isHost(path) && typeof saw === "string" ? hostProblem(saw) : undefined) ?? lowerFirst(issue.message)
      );
  }
}

const isHost = (path: ResourcePath): boolean => path[0] === "spec" && path[1] === "hosts";

function sizeOf(issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig): string {
  const bound = issue.code === "too_small" ? `least ${issue.minimum}` : `most ${issue.maximum}`;
  if (issue.origin === "string") return `${bound} characters`;
  return issue.origin === "array" ? `${bound} entries` : bound;
}

const WORDS: Readonly<Record<string, string>> = {
  object: "a map",
  array: "a list",
  string: "text",
  int: "a whole number",
  number: "a number",
  boolean: "true or false",
};

function wordOf(value: unknown): string {
  if (value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  return WORDS[typeof value] ?? typeof value;
}

function unknownWord(what: string, wrong: string, candidates: readonly string[]): string {
  const nearest = wrong.length > 200 ? undefined : nearestName(wrong, candidates);
  if (nearest !== undefined) return `unknown ${what} ${quote(wrong)}; did you mean ${quote(nearest)}?`;
  const known =
    candidates.length === 0 ? "nothing more may stand here" : `may be ${candidates.map(quote).join(", ")}`;
  return `unknown ${what} ${quote(wrong)}; ${known}`;
}

const quote = (text: string): string => `\`${text.length > 100 ? `${text.slice(0, 100)}…` : text}\``;

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);

/** Keys that the schema knows at `path` and that are not there yet. */
function freeKeysAt(value: unknown, path: ResourcePath): string[] {
  let schema: z.core.$ZodType | undefined = inner(resourceSchema, value);
  for (const [index, step] of path.entries()) {
    if (schema instanceof z.ZodObject) schema = schema.shape[step];
    else if (schema instanceof z.ZodArray) schema = schema.element;
    else return [];
    schema = schema === undefined ? undefined : inner(schema, valueAt(value, path.slice(0, index + 1)));
  }
  if (!(schema instanceof z.ZodObject)) return [];
  const present = valueAt(value, path);
  return Object.keys(schema.shape).filter(
    (key) => !(typeof present === "object" && present && key in present),
  );
}

/** Unwraps optional and default, and takes the option of a union that `value` names. */
function inner(schema: z.core.$ZodType, value: unknown): z.core.$ZodType | undefined {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) return inner(schema.unwrap(), value);
  if (!(schema instanceof z.ZodDiscriminatedUnion)) return schema;
  const named = valueAt(value, [schema.def.discriminator]);
  return schema.options.find(
    (option) =>
      option instanceof z.ZodObject && z.safeParse(option.shape[schema.def.discriminator], named).success,
  );
}

function valueAt(value: unknown, path: ResourcePath): unknown {
  let at = value;
  for (const step of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, step)) return undefined;
    at = Reflect.get(at, step);
  }
  return at;
}
