// SPDX-License-Identifier: Apache-2.0
/** Do all parsers of JSON find the same value in a field that `topLevelString` has read? */
import { isUtf8 } from "node:buffer";
import { topLevelString } from "../../packages/server/src/gateway/json-field.ts";
import { valuesAt } from "../../packages/server/src/gateway/json-pointers.ts";
import type { Choices } from "../choices.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

type Pair = readonly [key: string, value: unknown];

/** Members of a JSON object in their order, repeats too; by a parser that shares nothing with ours. */
function membersOf(text: string): Pair[] {
  const pairs: Pair[] = [];
  // The text is known to be a JSON object. Strings first, so that no brace in one counts.
  const tokens = [...text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s{}[\]:,"]+/gs)];
  let depth = 0;
  let key: string | undefined;
  let start = 0;
  for (const [index, { 0: token, index: at }] of tokens.entries()) {
    const isEnd = (token === "," && depth === 1) || (token === "}" && depth === 1);
    if (isEnd && key !== undefined) {
      pairs.push([key, JSON.parse(text.slice(start, at))]);
      key = undefined;
    }
    if (token === "{" || token === "[") depth++;
    if (token === "}" || token === "]") depth--;
    if (depth === 1 && token === ":" && key === undefined) {
      key = JSON.parse(tokens[index - 1]![0]) as string;
      start = at + 1;
    }
  }
  return pairs;
}

/** By Unicode's simple folding, as encoding/json of Go: the Kelvin sign is a k. */
const isAlike = (key: string, field: string): boolean => new RegExp(`^${field}$`, "iu").test(key);

function parsed(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

async function check(input: Buffer): Promise<void> {
  for (const field of ["model", "tasks"]) await checkField(input, field);
  await checkPointers(input);
}

const POINTERS = ["/model", "/a/model", "/a/0/tasks", "/tasks/1"];

/** What is read is what JSON.parse finds, on whose way nothing stands twice. */
async function checkPointers(input: Buffer): Promise<void> {
  const facts = await valuesAt(input, POINTERS);
  const json = isUtf8(input) ? parsed(input.toString("utf8")) : undefined;
  if (json === undefined) return demandEqual(facts, undefined, "what is no JSON");
  for (const pointer of facts === undefined ? [] : POINTERS) {
    let value: unknown = json.value;
    for (const token of pointer.split("/").slice(1))
      value =
        typeof value === "object" && value !== null && Object.hasOwn(value, token)
          ? (value as Record<string, unknown>)[token]
          : undefined;
    const raw = facts?.at(pointer)?.raw.toString("utf8");
    demandEqual(raw === undefined ? undefined : JSON.parse(raw), value, `the value at ${pointer}`);
  }
}

async function checkField(input: Buffer, field: string): Promise<void> {
  const found = await topLevelString(input, field);
  const text = input.toString("utf8");
  const json = isUtf8(input) ? parsed(text) : undefined;
  if (json === undefined) return demandEqual(found, { ok: false, reason: "not_json" }, "what is no JSON");
  if (!found.ok && found.reason === "not_json")
    return demand(isBeyondBounds(text), "JSON within the bounds was refused as none");
  const { value } = json;
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return demandEqual(found, { ok: false, reason: "not_an_object" }, "what is no object");
  const alike = membersOf(text).filter(([key]) => isAlike(key, field));
  if (alike.length > 1 || alike.some(([key]) => key !== field))
    return demandEqual(found, { ok: false, reason: "duplicate_field" }, "a field that is there twice");
  const [only] = alike;
  if (only === undefined) return demandEqual(found, { ok: true, value: undefined }, "an absent field");
  demandEqual(only[1], (value as Record<string, unknown>)[field], "the two parsers of the test");
  if (typeof only[1] === "string" && JSON.stringify(only[1]).length < 600)
    return demandEqual(found, { ok: true, value: only[1] }, "the field");
  demand(!found.ok || found.value === only[1], "another value");
}

/** Deeper than 256, or with a number of more than 4096 characters. */
function isBeyondBounds(text: string): boolean {
  let depth = 0;
  let deepest = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]]/gs)) {
    if (token === "{" || token === "[") deepest = Math.max(deepest, ++depth);
    if (token === "}" || token === "]") depth--;
  }
  return deepest > 256 || /[-+.0-9eE]{4097}/.test(text);
}

const KEYS = [
  "model",
  "Model",
  "MODEL",
  "mod\\u0065l",
  "\\u006dodel",
  "tasks",
  "ta\\u017fks",
  "ta\u017fk\u017f",
  "tas\u212as",
  "a",
  "",
  "__proto__",
  "model ",
  "\\\\model",
];
const VALUES = [
  '"a"',
  '"\\u0061"',
  '"\\ud800"',
  '"\\"model\\":\\"x\\""',
  "1",
  "-0.5e+3",
  "true",
  "null",
  "[]",
  "{}",
  '"\u00e4"',
  "01",
  '"\\x"',
  "\u00a0",
];

function make(choose: Choices): Buffer {
  const value = (depth: number): string => {
    if (depth > 3 || !choose.once(3)) return choose.pick(VALUES);
    return choose.once(2) ? object(depth + 1) : `[${choose.list(3, () => value(depth + 1)).join(",")}]`;
  };
  const space = (): string => choose.pick(["", "", "", " ", "\n\t", "\ufeff"]);
  const object = (depth: number): string =>
    `{${choose.list(5, () => `${space()}"${choose.pick(KEYS)}"${space()}:${space()}${value(depth)}${space()}`).join(",")}}`;
  return Buffer.from(space() + object(0) + space());
}

const target: FuzzTarget = {
  parsers: [
    "packages/server/src/gateway/json-field.ts",
    "packages/server/src/gateway/json-pointers.ts",
    "packages/server/src/gateway/json-scan.ts",
  ],
  property:
    "What is read is what JSON.parse and readers that take the first, the last or any spelling of the field would find; everything else is refused.",
  words: [...KEYS.map((key) => `"${key}"`), ...VALUES, "{", "}", "[", "]", ",", ":", "\\u", "\\"].map(
    (word) => Buffer.from(word).toString("latin1"),
  ),
  make,
  check,
};
export default target;
