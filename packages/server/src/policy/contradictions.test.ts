// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { contradictionsOf } from "./contradictions.ts";
import { compiled, type Policy, policy } from "./policy-fixtures.ts";

const FORBID = "forbid (principal, action, resource)";

const of = (names: readonly string[], ...policies: Policy[]) => {
  const { refused, warnings } = contradictionsOf(compiled(...policies), new Set(names));
  return { refused: refused.map(({ message }) => message), warnings: warnings.map(({ message }) => message) };
};

describe("a policy that can never apply", () => {
  it.each([
    ["forbids everything", {}, `${FORBID};`],
    [
      "forbids every model that it allows",
      { models: ["gpt-4", "gpt-5"] },
      `${FORBID} when { context has model && context.model like "gpt-*" };`,
    ],
    [
      "forbids its models in two statements",
      { models: ["a", "b"] },
      `${FORBID} when { context has model && context.model == "a" }; ${FORBID} when { context has model && context.model == "b" };`,
    ],
    [
      "forbids every method that it allows",
      { methods: ["GET"] },
      `${FORBID} unless { context.method == "POST" };`,
    ],
    [
      "asks for a model and forbids models",
      { modelPatterns: ["gpt-*"] },
      `${FORBID} when { context has model };`,
    ],
  ])("is refused where it %s", (_what, allow, cedar) => {
    const { refused, warnings } = of(
      ["p"],
      policy("p", { allow: { operations: ["chat"], ...allow }, cedar }),
    );
    expect(warnings).toEqual([]);
    expect(refused).toEqual([
      expect.stringMatching(
        /^everything that `p` allows is forbidden by `p#0`.*; narrow the forbid with `when`, or remove one of them$/,
      ),
    ]);
  });

  it.each([
    [
      "one of its models",
      { models: ["a", "b"] },
      `${FORBID} when { context has model && context.model == "a" };`,
    ],
    ["what has no model", {}, `${FORBID} unless { context has model };`],
    ["a path", { pathPatterns: ["/v1/*"] }, `${FORBID} when { context.path like "/v1/admin*" };`],
    [
      "what it may not forbid with a mistake",
      { methods: ["GET"] },
      `${FORBID} when { 9223372036854775807 + 1 > 0 };`,
    ],
  ])("is not said of one that forbids only %s", (_what, allow, cedar) => {
    expect(of(["p"], policy("p", { allow: { operations: ["chat"], ...allow }, cedar }))).toEqual({
      refused: [],
      warnings: [],
    });
  });

  it("is warned of where another policy forbids all of it, with the agents where it is not all of them", () => {
    const permit = policy("p", { agents: ["a", "b"], allow: { models: ["gpt"] } });
    const stop = policy("stop", { agents: ["a"], cedar: `${FORBID};` });
    const message =
      "everything that `p` allows is forbidden by `stop#0` for `a`, so it never applies; delete or narrow one of them, unless this is meant";
    expect(of(["stop"], permit, stop)).toEqual({ refused: [], warnings: [message] });
    expect(of(["p"], permit, stop)).toEqual({ refused: [], warnings: [message] });
    expect(
      of(["other"], permit, stop, policy("other", { agents: ["c"], allow: { everything: true } })),
    ).toEqual({ refused: [], warnings: [] });
  });

  it("is not said of a policy in dry-run, nor because of one", () => {
    const permit = policy("p", { allow: { models: ["gpt"] } });
    const stop = policy("stop", { mode: "dry-run", cedar: `${FORBID};` });
    expect(of(["p", "stop"], permit, stop)).toEqual({ refused: [], warnings: [] });
  });
});
