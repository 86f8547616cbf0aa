// SPDX-License-Identifier: Apache-2.0
/**
 * What does a JSON text say, if it says it in one way only?
 *
 * `JSON.parse` keeps the last of several members with one name, other parsers the first (RFC 8259 §4): whoever signs
 * with the one and checks with the other can be made to say two things. Duplicate names are refused at every depth.
 */
import { type Result, ok, refuse } from "../result.ts";

export type JsonRefusal = "json_malformed" | "json_duplicate_name" | "json_too_deep";

const MOST_DEPTH = 16;

/** Strings and what stands between values; nothing else matters in a text that `JSON.parse` has taken. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],]/g;

/** The caller bounds the size. Bytes that are no UTF-8, and a byte order mark, are refused. */
export function parseStrictJson(bytes: Uint8Array): Result<unknown, JsonRefusal> {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch {
    return refuse("json_malformed");
  }
  const problem = structureProblem(text);
  return problem === undefined ? ok(value) : refuse(problem);
}

function structureProblem(text: string): JsonRefusal | undefined {
  /** Names of each open object; nothing for a list. */
  const open: (Set<string> | undefined)[] = [];
  let isName = false;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === "{" || token === "[") {
      if (open.push(token === "{" ? new Set() : undefined) > MOST_DEPTH) return "json_too_deep";
      isName = token === "{";
    } else if (token === "}" || token === "]") {
      open.pop();
      isName = false;
    } else if (token === ",") {
      isName = open.at(-1) !== undefined;
    } else if (isName) {
      const name = JSON.parse(token) as string;
      const names = open.at(-1)!;
      if (names.has(name)) return "json_duplicate_name";
      names.add(name);
      isName = false;
    }
  }
  return undefined;
}

export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A member of the object itself: names such as `constructor` are nothing special. */
export const memberOf = (object: Readonly<Record<string, unknown>>, name: string): unknown =>
  Object.hasOwn(object, name) ? object[name] : undefined;
