// SPDX-License-Identifier: Apache-2.0
/** Conditions on bodies, from the bytes that will be sent to what was found. */
import { type AccessConditionSpec } from "@postern/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileCondition } from "../policy/conditions/compile-condition.ts";
import { callerFacts, conditionFacts } from "../policy/conditions/condition.fixture.ts";
import type { Verdict } from "../policy/conditions/condition-kind.ts";
import { condition, problemsOf } from "../policy/policy-fixtures.ts";
import { valuesAt } from "./json-pointers.ts";

type Body = NonNullable<Extract<AccessConditionSpec, { kind: "request" }>["body"]>;

async function judge(body: Body, json: string | Buffer): Promise<Verdict> {
  const compiled = compileCondition(condition("c", { kind: "request", body }));
  const facts = await valuesAt(Buffer.from(json as string), compiled.bodyPointers);
  return compiled.judge(conditionFacts({ caller: callerFacts(), body: facts }));
}

const temperature: Body = [{ pointer: "/temperature", max: 1 }];

describe("a body is unknown, whatever else it says,", () => {
  it.each([
    ["where the value stands twice", `{"temperature":0,"temperature":2}`],
    ["where it stands twice in other letters", `{"temperature":0,"Temperature":2}`],
    ["where it stands twice with escapes", `{"temperature":0,"t\\u0065mperature":2}`],
    ["where it is spelt with a letter that folds", `{"temperature":0,"\\u017ftop":1,"stop":1}`],
    ["where it is no JSON", `{"temperature":0`],
    ["where something follows", `{"temperature":0}{}`],
    ["where it is no UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ["where it begins with a byte order mark", `\ufeff{"temperature":0}`],
    [
      "where it nests beyond any parser's bounds",
      `{"temperature":0,"x":${"[".repeat(300)}${"]".repeat(300)}}`,
    ],
    ["where a number may be rounded", `{"temperature":1.00000000000000000001}`],
    ["where a number is too small to be told from 0", `{"temperature":1e-400}`],
    ["where a number is too large", `{"temperature":1e400}`],
  ])("%s", async (_name, json) => {
    expect(
      await judge([...temperature, { pointer: "/stop", equals: 1, orAbsent: true }], json),
    ).toMatchObject({
      holds: false,
      isUnknown: true,
    });
  });

  it("where a parent of the value stands twice", async () => {
    const body: Body = [{ pointer: "/a/b", equals: 1 }];
    expect(await judge(body, `{"a":{"b":1},"a":{}}`)).toMatchObject({ isUnknown: true });
    expect(await judge(body, `{"a":{"b":1},"c":{"b":2,"b":3}}`)).toMatchObject({ holds: true });
  });

  it("where a string is half a pair of surrogates", async () => {
    expect(await judge([{ pointer: "/a", in: ["x"] }], `{"a":"\\ud800"}`)).toMatchObject({ isUnknown: true });
  });
});

describe("a value", () => {
  it.each<[Body[number], string, boolean]>([
    [{ pointer: "/a", equals: "x" }, `{"a":"x"}`, true],
    [{ pointer: "/a", equals: "x" }, `{"a":"\\u0078"}`, true],
    [{ pointer: "/a", equals: "é" }, `{"a":"e\u0301"}`, false],
    [{ pointer: "/a", equals: "1" }, `{"a":1}`, false],
    [{ pointer: "/a", equals: 1 }, `{"a":1.0}`, true],
    [{ pointer: "/a", equals: 100 }, `{"a":1e2}`, true],
    [{ pointer: "/a", equals: true }, `{"a":true}`, true],
    [{ pointer: "/a", equals: true }, `{"a":"true"}`, false],
    [{ pointer: "/a", equals: false }, `{"a":null}`, false],
    [{ pointer: "/a", equals: "x" }, `{"a":{"x":1}}`, false],
    [{ pointer: "/a", in: ["x", 2] }, `{"a":2}`, true],
    [{ pointer: "/a", min: 0, max: 1 }, `{"a":1}`, true],
    [{ pointer: "/a", min: 0, max: 1 }, `{"a":1.01}`, false],
    [{ pointer: "/a", min: 0, max: 1 }, `{"a":-0.1}`, false],
    [{ pointer: "/a", max: 1 }, `{"a":"0"}`, false],
    [{ pointer: "/a", max: 1 }, `{}`, false],
    [{ pointer: "/a", max: 1, orAbsent: true }, `{}`, true],
    [{ pointer: "/a", max: 1, orAbsent: true }, `{"a":null}`, false],
    [{ pointer: "/a", absent: true }, `{"b":{"a":1}}`, true],
    [{ pointer: "/a", absent: true }, `{"a":null}`, false],
    [{ pointer: "/a", absent: true }, `{"a":[]}`, false],
    [
      { pointer: "/messages/0/role", equals: "system" },
      `{"messages":[{"role":"system"},{"role":"user"}]}`,
      true,
    ],
    [
      { pointer: "/messages/1/role", equals: "system" },
      `{"messages":[{"role":"system"},{"role":"user"}]}`,
      false,
    ],
    [{ pointer: "/messages/2/role", absent: true }, `{"messages":[{"role":"system"},{"role":"user"}]}`, true],
    [{ pointer: "/a~1b/c~0d", equals: 1 }, `{"a/b":{"c~d":1}}`, true],
  ])("%j of %s: %s", async (field, json, expected) => {
    expect((await judge([field], json)).holds).toBe(expected);
  });

  it("is told in the words whole or not at all: a part of a secret would not be found again", async () => {
    expect((await judge(temperature, `{"temperature":1.5}`)).words).toBe(
      "/temperature is 1.5; wanted at most 1",
    );
    const { words } = await judge([{ pointer: "/a", equals: "x" }], JSON.stringify({ a: "y".repeat(200) }));
    expect(words).toBe(`/a is a string of 202 bytes; wanted "x"`);
  });
});

it("looks in each body for what that request asked, whatever was asked before", async () => {
  const body = Buffer.from(`{"a":1,"b":2}`);
  const [a, b] = [["/a"], ["/b"]];
  for (const [asked, other] of [
    [a, "/b"],
    [b, "/a"],
    [a, "/b"],
  ] as const) {
    // oxlint-disable-next-line no-await-in-loop -- in this order
    const facts = await valuesAt(body, asked);
    expect(facts?.at(asked[0]!)?.raw.toString()).toBe(asked === a ? "1" : "2");
    expect(() => facts?.at(other)).toThrow("nobody has looked");
  }
});

it("a value that nobody has looked for is unknown, not absent", async () => {
  const compiled = compileCondition(
    condition("c", { kind: "request", body: [{ pointer: "/tools", absent: true }] }),
  );
  const body = await valuesAt(Buffer.from("{}"), ["/temperature"]);
  expect(compiled.judge(conditionFacts({ body }))).toMatchObject({ holds: false, isUnknown: true });
});

it("every value of any JSON is found where JSON.parse finds it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.jsonValue({ maxDepth: 5 }), fc.nat(), fc.nat(4), async (value, seed, indent) => {
      const pointers = [...pointersOf(value)];
      const [pointer, expected] = pointers[seed % pointers.length]!;
      if (pointer === "") return;
      const facts = await valuesAt(Buffer.from(JSON.stringify(value, undefined, indent)), [pointer]);
      // Undefined where another member of an object on the way differs in the case of letters only.
      if (facts === undefined) return;
      expect(JSON.parse(facts.at(pointer)!.raw.toString())).toEqual(JSON.parse(JSON.stringify(expected)));
    }),
    { numRuns: 500 },
  );
});

function* pointersOf(value: unknown, pointer = ""): Generator<[string, unknown]> {
  yield [pointer, value];
  if (typeof value !== "object" || value === null) return;
  for (const [key, child] of Object.entries(value))
    yield* pointersOf(child, `${pointer}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`);
}

describe("refused is", () => {
  it.each<[Body, string]>([
    [[{ pointer: "/a", min: 2, max: 1 }], "swap them"],
    [
      [
        { pointer: "/a", equals: 1 },
        { pointer: "/a", equals: 2 },
      ],
      "can never hold",
    ],
    [
      [
        { pointer: "/a", equals: 1 },
        { pointer: "/a", min: 2 },
      ],
      "can never hold",
    ],
    [
      [
        { pointer: "/a", absent: true },
        { pointer: "/a", min: 2 },
      ],
      "can never hold",
    ],
    [[{ pointer: "/a", equals: 0.1234567890123456 }], "more than 15 digits"],
    [[{ pointer: "/a", equals: "\ud800" }], "well-formed"],
  ])("%j", (body, message) => {
    expect(problemsOf(condition("c", { kind: "request", body }))).toEqual([
      expect.objectContaining({ message: expect.stringContaining(message) as string }),
    ]);
  });
});
