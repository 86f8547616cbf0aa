// SPDX-License-Identifier: Apache-2.0
/** Reads one top-level field of a JSON body without leaving two ways to read it. */
import { type Result, ok, refuse } from "../kernel/result.ts";

export type FieldRefusal = "not_json" | "not_an_object" | "not_a_string" | "duplicate_field";

/**
 * The string in a top-level field of a JSON object; undefined where the field is absent.
 *
 * A field that is there twice is refused: parsers differ in which one they take, so the model that was
 * decided need not be the model that is used.
 */
export function topLevelString(body: Buffer, field: string): Result<string | undefined, FieldRefusal> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
  } catch {
    return refuse("not_json");
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) return refuse("not_an_object");
  const value: unknown = Object.hasOwn(parsed, field)
    ? (parsed as Record<string, unknown>)[field]
    : undefined;
  if (value !== undefined && typeof value !== "string") return refuse("not_a_string");
  // Parsers that ignore case in keys exist (Go's encoding/json), so a second spelling counts as a second field.
  const spellings = topLevelKeys(body).filter((key) => key.toLowerCase() === field.toLowerCase());
  if (spellings.length > 1 || (spellings.length === 1 && spellings[0] !== field))
    return refuse("duplicate_field");
  return ok(value);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Keys of the outermost object of valid JSON, repeats included. */
function topLevelKeys(json: Buffer): string[] {
  const keys: string[] = [];
  let depth = 0;
  let expectsKey = false;
  for (let i = 0; i < json.length; i++) {
    const byte = json[i];
    if (byte === QUOTE) {
      const end = stringEnd(json, i);
      if (depth === 1 && expectsKey) keys.push(JSON.parse(json.toString("utf8", i, end + 1)) as string);
      expectsKey = false;
      i = end;
    } else if (byte === 0x7b || byte === 0x5b) {
      depth++;
      expectsKey = byte === 0x7b && depth === 1;
    } else if (byte === 0x7d || byte === 0x5d) {
      depth--;
    } else if (byte === 0x2c && depth === 1) {
      expectsKey = true;
    }
  }
  return keys;
}

/** Index of the quote that closes the string opened at `start`. */
function stringEnd(json: Buffer, start: number): number {
  for (let i = json.indexOf(QUOTE, start + 1); ; i = json.indexOf(QUOTE, i + 1)) {
    let backslashes = 0;
    while (json[i - 1 - backslashes] === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return i;
  }
}
