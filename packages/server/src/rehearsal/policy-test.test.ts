// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { ok, refuse } from "../kernel/result.ts";
import { compiled, policy } from "../policy/policy-fixtures.ts";
import type { RecordedDecision } from "../policy/recorded-decision.ts";
import { fixtureOf, parsePolicyTests, runPolicyTest } from "./policy-test.ts";

const FIXTURE = `kind: PolicyTest
metadata: { name: chat is allowed }
spec:
  request: { agent: a, serverWorkload: s, method: POST, path: /v1/chat, operation: chat, model: gpt }
  expect: { outcome: allow, credentialProvider: key, policies: [p] }
`;

const parse = (text: string) => parsePolicyTests([{ name: "t.yaml", text }]);

function only(text: string) {
  const parsed = parse(text);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.reason));
  const [test] = parsed.value.tests;
  if (test === undefined) throw new Error("no test");
  return test;
}

describe("a fixture", () => {
  it.each([
    ["a misspelt key", FIXTURE.replace("outcome: allow", "outcom: allow"), "no key `outcom`", 5],
    ["an outcome that there is not", FIXTURE.replace("outcome: allow", "outcome: maybe"), "allow", 5],
    ["no agent", FIXTURE.replace("agent: a, ", ""), "expected string", 4],
    ["a path that is none", FIXTURE.replace("/v1/chat", "v1/chat"), "/", 4],
    ["a duplicate key", FIXTURE.replace("agent: a,", "agent: a, agent: b,"), "duplicate key", 4],
    ["a list for a text", FIXTURE.replace("model: gpt", "model: [gpt]"), "string", 4],
    ["another kind in the same file", `${FIXTURE}---\nkind: AccessPolicy\n`, "PolicyTest", 7],
  ])("is refused with its place where it has %s", (_what, text, message, line) => {
    const parsed = parse(text);
    expect(parsed.ok ? [] : parsed.reason).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ file: "t.yaml", line, message: expect.stringContaining(message) }),
      ]),
    );
  });

  it("is told from files of resources, which are left to others", () => {
    const text = "kind: AccessPolicy\n";
    expect(parse(text)).toEqual({ ok: true, value: { tests: [], others: [{ name: "t.yaml", text }] } });
  });
});

describe("a policy test", () => {
  it("passes where everything that it names is as expected", () => {
    const result = runPolicyTest(only(FIXTURE), compiled(policy("p", { allow: { models: ["gpt"] } })));
    expect(result).toEqual({
      file: "t.yaml",
      line: 2,
      name: "chat is allowed",
      passed: true,
      differences: [],
    });
  });

  it("says each difference, and why it is so", () => {
    const result = runPolicyTest(only(FIXTURE), compiled(policy("q", { allow: { models: ["other"] } })));
    expect(result.differences).toEqual([
      "outcome: expected allow, got deny",
      "credentialProvider: expected key, got none",
      "policies: expected p, got none",
    ]);
    expect(result.explanation).toContain("models: wants `other`; saw `gpt`");
  });

  it("made from a recorded decision passes under the policies of then, whatever stands in the request", () => {
    const path = '/v1/"it\'s": #1 {x}';
    const recorded: RecordedDecision = {
      ...{ id: "d1", time: 0, agent: "a", serverWorkload: "s", outcome: "deny" },
      ...{ reasons: ["no_matching_policy"], policies: [], conditions: [] },
      asked: ok({ agent: "a", serverWorkload: "s", method: "GET", path, model: "- yes: no\u0007" }),
    };
    const text = fixtureOf(recorded);
    if (!text.ok) throw new Error(text.reason);
    const test = only(text.value);
    expect(test.request).toEqual(recorded.asked.ok && recorded.asked.value);
    expect(runPolicyTest(test, compiled(policy("p", { allow: { models: ["gpt"] } }))).passed).toBe(true);
    expect(runPolicyTest(test, compiled(policy("p", { allow: { everything: true } }))).passed).toBe(false);
  });

  it("is not made from what the log does not hold in full", () => {
    const recorded = {
      id: "d",
      time: 0,
      outcome: "deny",
      reasons: [],
      policies: [],
      conditions: [],
    } as const;
    expect(fixtureOf({ ...recorded, asked: refuse("cut_short") })).toEqual(refuse("cut_short"));
  });
});
