// SPDX-License-Identifier: Apache-2.0
/**
 * Does the agent run with the system prompt and the tools that it was approved with?
 *
 * They are gathered from wherever the known APIs take them, in every request: what an API would take for instructions
 * and stands in no digest must not pass. A digest is SHA-256 over the canonical JSON (RFC 8785) of what was gathered, so
 * spaces and the order of members do not count, and every character of a text does.
 */
import { createHash } from "node:crypto";
import type { ConditionSpecOf } from "@postern/contract";
import canonicalize from "canonicalize";
import { type ConditionKind, met, unknown, unmet, type Verdict } from "./condition-kind.ts";
import type { BodyFacts } from "./facts.ts";

type Spec = ConditionSpecOf<"configuration">;
type Part = "systemPrompt" | "tools";

/** Members of a body that are instructions as a whole. The last ones name instructions that lie at the provider. */
const INSTRUCTIONS = [
  ...["/system", "/instructions", "/systemInstruction", "/system_instruction"],
  ...["/additional_instructions", "/preamble", "/session"],
  ...["/prompt", "/cachedContent", "/cached_content"],
];
/** Lists in which elements with certain roles are instructions. */
const CONVERSATIONS = ["/messages", "/input", "/contents"];
const ROLES = new Set(["system", "developer"]);
const TOOLS = ["/tools", "/functions", "/mcp_servers"];

const POINTERS: Readonly<Record<Part, readonly string[]>> = {
  systemPrompt: [...INSTRUCTIONS, ...CONVERSATIONS],
  tools: TOOLS,
};
const NAMES: Readonly<Record<Part, string>> = { systemPrompt: "the system prompt", tools: "the tools" };

export const configuration: ConditionKind<Spec> = {
  scope: "request",
  bodyPointers: (spec) => partsOf(spec).flatMap((part) => POINTERS[part]),
  conflict: (a, b) => {
    for (const part of partsOf(a)) {
      const others = b[part];
      if (others !== undefined && !a[part]!.some((digest) => others.includes(digest)))
        return `they have no digest of \`${part}\` in common`;
    }
    return undefined;
  },
  judge: (spec) => (facts) => {
    if (facts.body === undefined) return unknown("there is no JSON body that can be read in one way only");
    const seen: string[] = [];
    for (const part of partsOf(spec)) {
      const verdict = judgePart(part, spec[part]!, facts.body);
      if (!verdict.holds) return verdict;
      seen.push(verdict.words);
    }
    return met(seen.join(", "));
  },
};

const partsOf = (spec: Spec): Part[] =>
  (["systemPrompt", "tools"] as const).filter((part) => spec[part] !== undefined);

function judgePart(part: Part, wanted: readonly string[], body: BodyFacts): Verdict {
  const gathered = part === "tools" ? gather(TOOLS, body) : gatherInstructions(body);
  if (gathered === undefined) return unknown(`${NAMES[part]} can be read in more than one way`);
  const digest = gathered.size === 0 ? "none" : digestOf(gathered);
  if (digest === undefined) return unknown(`${NAMES[part]} has no canonical form`);
  const words = `${NAMES[part]}: ${digest}`;
  if (wanted.includes(digest)) return met(words);
  return unmet(`${words}; wanted ${wanted.length === 1 ? wanted[0] : `one of ${wanted.length} others`}`);
}

function digestOf(gathered: ReadonlyMap<string, unknown>): string | undefined {
  try {
    const text = canonicalize(Object.fromEntries(gathered));
    // A lone surrogate would become the same character as every other one.
    if (text?.isWellFormed() !== true) return undefined;
    return `sha256:${createHash("sha256").update(text).digest("hex")}`;
  } catch {
    return undefined;
  }
}

/** By pointer; undefined where one of them could be read in two ways. */
function gather(pointers: readonly string[], body: BodyFacts): Map<string, unknown> | undefined {
  const gathered = new Map<string, unknown>();
  for (const pointer of pointers) {
    const value = body.at(pointer);
    if (value === undefined || value.type === "null") continue;
    const read = readOnce(value.raw);
    if (read === undefined) return undefined;
    if (!isEmpty(read.value)) gathered.set(pointer, read.value);
  }
  return gathered;
}

const isEmpty = (value: unknown): boolean => value === "" || (Array.isArray(value) && value.length === 0);

function gatherInstructions(body: BodyFacts): Map<string, unknown> | undefined {
  const gathered = gather(INSTRUCTIONS, body);
  const conversations = gather(CONVERSATIONS, body);
  if (gathered === undefined || conversations === undefined) return undefined;
  // A text there is what the caller says; an object names a prompt that lies at the provider.
  if (typeof gathered.get("/prompt") === "string") gathered.delete("/prompt");
  for (const [pointer, elements] of conversations) {
    if (!Array.isArray(elements)) continue;
    const instructions: unknown[] = [];
    for (const element of elements as unknown[]) {
      const role = roleOf(element);
      if (role === "ambiguous") return undefined;
      if (role !== undefined && ROLES.has(role)) instructions.push(element);
    }
    if (instructions.length > 0) gathered.set(pointer, instructions);
  }
  return gathered;
}

/** Some servers take members whose names differ in case for the same. */
function roleOf(element: unknown): string | undefined {
  if (typeof element !== "object" || element === null) return undefined;
  const keys = Object.keys(element).filter((key) => key.toUpperCase() === "ROLE");
  if (keys.length === 0) return undefined;
  const { role } = element as { role?: unknown };
  if (keys.length > 1 || keys[0] !== "role") return "ambiguous";
  return typeof role === "string" ? role.trim().toLowerCase() : undefined;
}

/** More than this is not looked into: it is read as a whole, while others wait. */
const MOST_BYTES = 8 * 1024 * 1024;

/** Undefined where it is too long, or a member stands in it twice: parsers differ in which one they take. */
function readOnce(raw: Buffer): { value: unknown } | undefined {
  if (raw.length > MOST_BYTES) return undefined;
  const value: unknown = JSON.parse(raw.toString("utf8"));
  return namesIn(raw) === membersOf(value) ? { value } : undefined;
}

const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a];
const BLANKS = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** How many strings have a colon behind them, in a text that is known to be JSON: that many members were written. */
function namesIn(json: Buffer): number {
  let count = 0;
  for (let start = json.indexOf(QUOTE); start !== -1;) {
    let end = json.indexOf(QUOTE, start + 1);
    while (isEscaped(json, end)) end = json.indexOf(QUOTE, end + 1);
    let next = end + 1;
    while (BLANKS.has(json[next]!)) next++;
    if (json[next] === COLON) count++;
    start = json.indexOf(QUOTE, next);
  }
  return count;
}

function isEscaped(json: Buffer, quote: number): boolean {
  let first = quote;
  while (json[first - 1] === BACKSLASH) first--;
  return (quote - first) % 2 === 1;
}

/** How many members all objects in it have together. */
function membersOf(value: unknown): number {
  let count = 0;
  const left = [value];
  while (left.length > 0) {
    const next = left.pop();
    if (typeof next !== "object" || next === null) continue;
    const below = Object.values(next) as unknown[];
    if (!Array.isArray(next)) count += below.length;
    for (const each of below) if (typeof each === "object") left.push(each);
  }
  return count;
}
