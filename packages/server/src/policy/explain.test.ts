// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import { explain, explanationText } from "./explain.ts";
import { compiled, policy } from "./policy-fixtures.ts";

const request = {
  agent: "a",
  serverWorkload: "s",
  method: "POST",
  path: "/v1/x",
  operation: "chat",
  model: "gpt-4o",
};

describe("a default deny", () => {
  test("names the failed clause, what was wanted and seen, and the smallest fix", () => {
    const policies = compiled(policy("p", { allow: { models: ["gpt-4o-mini"], operations: ["chat"] } }));
    expect(explain(policies, request).closest).toEqual([
      {
        id: "p",
        policy: "p",
        failed: [
          {
            policy: "p",
            clause: "models",
            wanted: ["gpt-4o-mini"],
            saw: "gpt-4o",
            fix: "add `gpt-4o` to spec.allow.models of AccessPolicy `p`",
          },
        ],
      },
    ]);
  });

  test("puts the policy with fewest failed clauses first, and other agents' policies last", () => {
    const policies = compiled(
      policy("a-other", { agents: ["b"], allow: { models: ["gpt-4o"] } }),
      policy("b-two", { allow: { models: ["x"], methods: ["GET"] } }),
      policy("c-one", { allow: { models: ["x"], methods: ["POST"] } }),
      policy("d-elsewhere", { serverWorkload: "t", allow: { everything: true } }),
    );
    const { closest } = explain(policies, request);
    expect(closest.map(({ policy: name }) => name)).toEqual(["c-one", "b-two", "a-other"]);
    expect(closest[2]?.failed).toMatchObject([{ clause: "agents", saw: "a", wanted: ["b"] }]);
  });

  test("suggests the name that the request perhaps meant", () => {
    const policies = compiled(policy("p", { allow: { models: ["gpt-4o"] } }));
    const explanation = explain(policies, { ...request, model: "gpt-40" });
    expect(explanation.closest[0]?.failed[0]?.nearest).toBe("gpt-4o");
    expect(explanationText(explanation)).toContain("or did the request mean `gpt-4o`?");
  });

  test("says so where the request names no model", () => {
    const { model: _, ...without } = request;
    const policies = compiled(policy("p", { allow: { models: ["gpt-4o"] } }));
    expect(explain(policies, without).closest[0]?.failed[0]?.fix).toContain("the request has no model");
  });

  test("shows raw Cedar that did not match, and no forbid", () => {
    const cedar = `permit(principal, action, resource) when { context.method == "GET" };
      forbid(principal, action, resource) when { context.method == "PUT" };`;
    const { closest } = explain(compiled(policy("p", { cedar })), request);
    expect(closest).toMatchObject([
      { id: "p#0", failed: [{ clause: "cedar", wanted: [expect.stringContaining("GET")] }] },
    ]);
  });
});

test("an allow names the policies and the values that held", () => {
  const policies = compiled(policy("p", { allow: { modelPatterns: ["x", "gpt-*"] } }));
  const explanation = explain(policies, request);
  expect(explanation.determining).toEqual([
    {
      id: "p",
      policy: "p",
      effect: "permit",
      clauses: [{ clause: "modelPatterns", wanted: ["x", "gpt-*"], saw: "gpt-4o", matched: "gpt-*" }],
    },
  ]);
  expect(explanationText(explanation)).toBe(
    "allowed with credential provider `key`\n  allowed by `p`\n    modelPatterns: `gpt-4o` matches `gpt-*`\n",
  );
});

test("a forbid names the statement that forbade", () => {
  const cedar = `permit(principal, action, resource); forbid(principal, action, resource) when { context.method == "POST" };`;
  const explanation = explain(compiled(policy("p", { cedar })), request);
  expect(explanation.determining).toMatchObject([{ id: "p#1", effect: "forbid" }]);
  expect(explanation.closest).toEqual([]);
});

test("what an agent sent cannot steer the terminal of the operator who reads it", () => {
  const policies = compiled(policy("p", { allow: { models: ["m"] } }));
  const text = explanationText(explain(policies, { ...request, model: "\u001b[2J\u202e\n  allowed" }));
  expect(text).toContain("\\u{1b}[2J\\u{202e}\\u{a}  allowed");
  for (const raw of ["\u001b", "\u202e", "\n  allowed"]) expect(text).not.toContain(raw);
});
