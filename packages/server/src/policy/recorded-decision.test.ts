// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { parseDecision } from "./recorded-decision.ts";

const event = (said: object = {}, path = "/v1/chat", more: object = {}): unknown => ({
  metadata: { uid: "d1" },
  time: 1000,
  http_request: { url: { path } },
  unmapped: {
    kind: "decision",
    outcome: "allow",
    agent: "a",
    server_workload: "s",
    method: "POST",
    policies: ["p"],
    reasons: [],
    ...said,
  },
  ...more,
});

const reasonOf = (value: unknown): string | undefined => {
  const asked = parseDecision(value)?.asked;
  return asked === undefined || asked.ok ? undefined : asked.reason;
};

describe("parseDecision", () => {
  it.each([
    ["no object", "text"],
    ["another event", event({ kind: "outcome" })],
    ["an outcome that there is not", event({ outcome: "maybe" })],
    ["no id", event({}, "/", { metadata: {} })],
    ["no time", event({}, "/", { time: "1000" })],
    ["a list where an object belongs", event({}, "/", { unmapped: [] })],
  ])("finds no decision in %s", (_what, value) => expect(parseDecision(value)).toBeUndefined());

  it.each([
    ["a path that was cut", event({}, `/${"x".repeat(1023)}…[+7]`), "cut_short"],
    ["a model that was cut", event({ model: "m…[+1]" }), "cut_short"],
    ["a secret in the path", event({}, "/v1/****/x"), "masked"],
    ["a path that is hidden as a whole", event({}, "/*"), "masked"],
    ["a control character", event({ model: "gpt\uFFFD" }), "masked"],
    ["no path", event({}, "", { http_request: {} }), "incomplete"],
    ["a method that is no text", event({ method: 3 }), "incomplete"],
    ["no agent", event({ agent: undefined, outcome: "deny", code: "access_denied" }), "incomplete"],
    ["a refusal before policy", event({ outcome: "deny", code: "agent_quarantined" }), "not_asked"],
    [
      "a person who said no",
      event({ outcome: "deny", code: "access_denied", reasons: ["approval_denied"] }),
      "beyond_policy",
    ],
    ["a budget that is spent", event({ outcome: "deny", code: "budget_exhausted" }), "beyond_policy"],
    ["what a later version wrote", event({ policy_schema: 1_000_000 }), "other_schema"],
    [
      "a configuration that changed meanwhile",
      event({ outcome: "deny", code: "access_denied", reasons: ["changed_meanwhile"] }),
      "not_asked",
    ],
  ])("says that %s cannot be asked again", (_what, value, reason) => expect(reasonOf(value)).toBe(reason));

  it("gives the very request, and what came of it", () => {
    const said = { model: "gpt-5", operation: "chat", credential_provider: "key", policy_digest: "00" };
    expect(parseDecision(event(said))).toEqual({
      conditions: [],
      id: "d1",
      time: 1000,
      agent: "a",
      serverWorkload: "s",
      outcome: "allow",
      policies: ["p"],
      reasons: [],
      credentialProvider: "key",
      policyDigest: "00",
      asked: {
        ok: true,
        value: {
          agent: "a",
          serverWorkload: "s",
          method: "POST",
          path: "/v1/chat",
          operation: "chat",
          model: "gpt-5",
        },
      },
    });
  });

  it("gives what the policies in dry-run would have made of it", () => {
    const dry = { outcome: "deny", policies: ["trial"], reasons: ["forbidden"] };
    expect(parseDecision(event({ dry_run: dry }))?.dryRun).toEqual(dry);
    expect(parseDecision(event({ dry_run: { outcome: "perhaps" } }))).not.toHaveProperty("dryRun");
  });
});
