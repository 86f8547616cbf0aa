// SPDX-License-Identifier: Apache-2.0
import { budgetSpec, type ResourceOf } from "@postern/contract";
import { describe, expect, test } from "vitest";
import { CompiledBudgets, counterKey } from "./compile-budgets.ts";

const agent = (name: string, owner?: string): ResourceOf<"Agent"> => ({
  kind: "Agent",
  metadata: { name },
  spec: { trustProvider: "local", selectors: ["process:uid=1"], ...(owner === undefined ? {} : { owner }) },
});

const budget = (name: string, appliesTo: object, more: object = {}): ResourceOf<"Budget"> => ({
  kind: "Budget",
  metadata: { name },
  spec: budgetSpec.parse({ appliesTo, period: "day", limits: { requests: 10 }, ...more }),
});

const AGENTS = [agent("a", "red"), agent("b", "red"), agent("c", "blue"), agent("d")];
const request = { agent: "a", serverWorkload: "openai", model: "m", policies: ["p"] };

const namesFor = (budgets: ResourceOf<"Budget">[], more: object = {}): string[] =>
  new CompiledBudgets(budgets, AGENTS)
    .countersOf({ ...request, ...more })
    .map(({ budget: { name }, subject }) => `${name}:${subject}`);

describe("which budgets count a request", () => {
  const all = [
    budget("everything", { everything: true }),
    budget("agent", { agents: ["a"] }),
    budget("team", { owners: ["red"] }),
    budget("workload", { serverWorkloads: ["openai"] }),
    budget("model", { models: ["m"] }),
    budget("policy", { policies: ["p", "q"] }),
    budget("two", { agents: ["a"], models: ["other"] }),
  ];

  test("all whose every field holds, and no other", () => {
    expect(namesFor(all)).toEqual(["everything:", "agent:", "team:", "workload:", "model:", "policy:"]);
    expect(namesFor(all, { agent: "c" })).toEqual(["everything:", "workload:", "model:", "policy:"]);
    expect(namesFor(all, { model: undefined, policies: [] })).toEqual([
      "everything:",
      "agent:",
      "team:",
      "workload:",
    ]);
  });

  test("an agent without an owner is in no team, and one that nobody knows only in what counts everybody", () => {
    expect(namesFor(all, { agent: "d" })).not.toContain("team:");
    expect(namesFor(all, { agent: "stranger" })).not.toContain("agent:");
  });

  test("models are compared exactly: nothing that only begins like one", () => {
    expect(namesFor(all, { model: "m-2026" })).not.toContain("model:");
  });
});

describe("whose counter it is", () => {
  test("one for each agent, team, server workload or model where the budget says so", () => {
    const each = (["agent", "owner", "serverWorkload", "model"] as const).map((per) =>
      budget(per, per === "model" ? { models: ["m"] } : { everything: true }, { per }),
    );
    expect(namesFor(each)).toEqual(["agent:a", "owner:red", "serverWorkload:openai", "model:m"]);
  });

  test("names that hold the signs of a key cannot make two counters one", () => {
    const agents = [agent("a", 'x","y'), agent("b", "x")];
    const one = new CompiledBudgets([budget("n", { everything: true }, { per: "owner" })], agents);
    const keys = agents.map(({ metadata: { name } }) => {
      const [counter] = one.countersOf({ ...request, agent: name });
      return counterKey(counter!, "requests", counter!.budget.windowAt(0));
    });
    expect(new Set(keys).size).toBe(2);
  });

  test("a budget that is deleted and made again goes on with the same counter", () => {
    const keyOf = (limit: number): string => {
      const made = new CompiledBudgets(
        [budget("n", { everything: true }, { limits: { requests: limit } })],
        AGENTS,
      );
      const [counter] = made.countersOf(request);
      return counterKey(counter!, "requests", counter!.budget.windowAt(1_000_000));
    };
    expect(keyOf(10)).toBe(keyOf(99));
  });
});

describe("the shape of a budget", () => {
  test.each([
    ["nothing is counted", { appliesTo: {} }],
    ["everything and something", { appliesTo: { everything: true, agents: ["a"] } }],
    ["nothing is limited", { limits: {} }],
    ["a limit that is negative", { limits: { requests: -1 } }],
    ["a limit that is no whole number", { limits: { requests: 1.5 } }],
    ["a limit beyond what can be counted", { limits: { requests: 2 ** 60 } }],
    ["counters for every model that an agent may think of", { per: "model" }],
  ])("is refused: %s", (_name, wrong) => {
    const spec = { appliesTo: { everything: true }, period: "day", limits: { requests: 1 }, ...wrong };
    expect(budgetSpec.safeParse(spec).success).toBe(false);
  });
});
