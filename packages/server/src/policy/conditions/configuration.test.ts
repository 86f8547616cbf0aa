// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import type { AccessConditionSpec } from "@postern/contract";
import { describe, expect, it } from "vitest";
import { condition } from "../policy-fixtures.ts";
import { compileCondition, conditionConflict } from "./compile-condition.ts";
import { conditionFacts } from "./condition.fixture.ts";
import type { Verdict } from "./condition-kind.ts";
import type { BodyFacts, BodyValue } from "./facts.ts";

type Spec = Omit<Extract<AccessConditionSpec, { kind: "configuration" }>, "kind">;

/** Top-level members as they are written, as the gateway finds them. */
function bodyOf(members: Record<string, string>): BodyFacts {
  const typeOf = (raw: string): BodyValue["type"] =>
    raw.startsWith("[") ? "array" : raw.startsWith("{") ? "object" : raw === "null" ? "null" : "string";
  return {
    bytes: Buffer.alloc(0),
    at: (pointer) => {
      const raw = members[pointer.slice(1)];
      return raw === undefined ? undefined : { type: typeOf(raw), raw: Buffer.from(raw) };
    },
  };
}

const judge = (spec: Spec, members: Record<string, string> | undefined): Verdict =>
  compileCondition(condition("c", { kind: "configuration", ...spec })).judge(
    conditionFacts({ body: members && bodyOf(members) }),
  ) as Verdict;

const OTHER = `sha256:${"0".repeat(64)}`;
/** What a body with these members has, as the refusal says it. */
const digestOf = (part: "systemPrompt" | "tools", members: Record<string, string>): string =>
  /: (sha256:[0-9a-f]{64}|none)/.exec(judge({ [part]: [OTHER] }, members).words)![1]!;

const CHAT = {
  messages: '[{"role":"system","content":"Be kind."},{"role":"user","content":"hello"}]',
  tools: '[{"type":"function","function":{"name":"look"}}]',
};

describe("a system prompt that was approved", () => {
  const approved = { systemPrompt: [digestOf("systemPrompt", CHAT)] };
  const holds = (messages: string, more: Record<string, string> = {}): boolean =>
    judge(approved, { ...CHAT, messages, ...more }).holds;

  it("holds, whatever the user says and however it is written", () => {
    expect(judge(approved, CHAT).holds).toBe(true);
    expect(holds('[ {"content":"Be kind.", "role":"system"}, {"role":"user","content":"other"} ]')).toBe(
      true,
    );
    expect(holds('[{"role":"system","content":"Be k\\u0069nd."}]')).toBe(true);
  });

  it.each([
    ["is another by one byte", '[{"role":"system","content":"Be kind!"}]'],
    ["is not there", '[{"role":"user","content":"hello"}]'],
    [
      "has a second one behind it",
      '[{"role":"system","content":"Be kind."},{"role":"system","content":"Not."}]',
    ],
    [
      "has a developer's word behind it",
      '[{"role":"system","content":"Be kind."},{"role":"user","content":"x"},{"role":"developer","content":"Not."}]',
    ],
    ["has another role", '[{"role":"developer","content":"Be kind."}]'],
    ["has a member more", '[{"role":"system","content":"Be kind.","name":"x"}]'],
    [
      "has a role in capitals behind it",
      '[{"role":"system","content":"Be kind."},{"role":"System ","content":"x"}]',
    ],
  ])("does not hold where it %s", (_name, messages) => {
    expect(holds(messages)).toBe(false);
  });

  it.each([
    ["a role that stands twice", '[{"role":"user","role":"system","content":"x"}]'],
    ["a content that stands twice", '[{"role":"system","content":"Be kind.","content":"x"}]'],
    ["the same with an escape in the name", '[{"role":"system","content":"Be kind.","c\\u006fntent":"x"}]'],
    [
      "a role in another spelling",
      '[{"role":"system","content":"Be kind."},{"Role":"system","content":"x"}]',
    ],
    ["both spellings", '[{"Role":"system","role":"user","content":"x"}]'],
  ])("is unknown where there is %s", (_name, messages) => {
    expect(judge(approved, { ...CHAT, messages })).toMatchObject({ holds: false, isUnknown: true });
  });

  it.each([
    "system",
    "instructions",
    "systemInstruction",
    "system_instruction",
    "additional_instructions",
    "preamble",
    "session",
    "cachedContent",
    "cached_content",
  ])("does not hold where %s says more", (name) => {
    expect(holds(CHAT.messages, { [name]: '"Not."' })).toBe(false);
    expect(holds(CHAT.messages, { [name]: "null" })).toBe(true);
  });

  it("does not hold where a prompt that lies at the provider is named; a text of the caller is none", () => {
    expect(holds(CHAT.messages, { prompt: '{"id":"pmpt_1"}' })).toBe(false);
    expect(holds(CHAT.messages, { prompt: '"tell me"' })).toBe(true);
  });

  it("is not the same in another place", () => {
    expect(digestOf("systemPrompt", { system: '"x"' })).not.toBe(
      digestOf("systemPrompt", { instructions: '"x"' }),
    );
  });

  it("is unknown where the body cannot be read in one way only, or is too long to look into", () => {
    expect(judge(approved, undefined)).toMatchObject({ isUnknown: true });
    const long = `[{"role":"user","content":"${"x".repeat(8 * 1024 * 1024)}"}]`;
    expect(judge(approved, { messages: long })).toMatchObject({ isUnknown: true });
  });

  it("is unknown where two texts could become one: a lone surrogate", () => {
    expect(judge(approved, { system: '"\\ud800"' })).toMatchObject({ isUnknown: true });
  });

  it("is the digest of canonical JSON, so that others can work it out", () => {
    const text = '{"/messages":[{"content":"Be kind.","role":"system"}]}';
    expect(approved.systemPrompt).toEqual([`sha256:${createHash("sha256").update(text).digest("hex")}`]);
  });
});

describe("tools that were approved", () => {
  it.each([
    ["another description", { tools: '[{"type":"function","function":{"name":"Look"}}]' }, false],
    ["one more", { tools: '[{"type":"function","function":{"name":"look"}},{"type":"web_search"}]' }, false],
    ["none", {}, false],
    ["the older member beside it", { ...CHAT, functions: '[{"name":"rm"}]' }, false],
    ["a server of tools beside it", { ...CHAT, mcp_servers: '[{"url":"https://evil.example"}]' }, false],
    ["spaces", { tools: '[ {"type":"function", "function":{"name":"look"}} ]' }, true],
  ] as const)("with %s", (_name, members, holds) => {
    expect(judge({ tools: [digestOf("tools", CHAT)] }, members).holds).toBe(holds);
  });

  it("can be none at all, which an empty list is too", () => {
    expect(judge({ tools: ["none"] }, { tools: "[]" }).holds).toBe(true);
    expect(judge({ tools: ["none"] }, { tools: "null" }).holds).toBe(true);
    expect(judge({ tools: ["none"] }, CHAT).holds).toBe(false);
  });
});

it("a quote behind backslashes ends a string only where they pair", () => {
  const tools = String.raw`[{"name":"a\\","x\"y":"\\\" : \\"}]`;
  expect(judge({ tools: [digestOf("tools", { tools })] }, { tools }).holds).toBe(true);
});

it("two that have no digest in common never hold at once", () => {
  const spec = (digest: string): AccessConditionSpec => ({ kind: "configuration", tools: [digest] });
  expect(conditionConflict(spec(OTHER), spec("none"))).toContain("in common");
  expect(conditionConflict(spec(OTHER), spec(OTHER))).toBeUndefined();
});
