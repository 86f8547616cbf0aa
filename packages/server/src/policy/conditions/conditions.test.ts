// SPDX-License-Identifier: Apache-2.0
/** Conditions in policies: from what was found of them to the decision. */
import { describe, expect, it } from "vitest";
import type { AccessRequest } from "../access-request.ts";
import { decide } from "../decide.ts";
import { explain } from "../explain.ts";
import { compiled, condition, policy, problemsOf } from "../policy-fixtures.ts";

const request: AccessRequest = { agent: "a", serverWorkload: "s", method: "POST", path: "/v1/x", model: "m" };
const hours = condition("hours", { kind: "time", zone: "UTC", hours: ["09:00-17:00"] });
const days = condition("days", { kind: "time", zone: "UTC", weekdays: ["monday"] });
const everything = { allow: { everything: true } } as const;
const holding = (...conditions: string[]): AccessRequest => ({ ...request, conditions });

describe("a policy with conditions", () => {
  const policies = compiled(hours, days, policy("p", { ...everything, conditions: ["hours", "days"] }));

  it("allows where all of them hold, and nothing where one does not", () => {
    expect(decide(policies, holding("days", "hours")).outcome).toBe("allow");
    for (const some of [holding(), holding("days"), holding("hours"), request])
      expect(decide(policies, some)).toMatchObject({
        outcome: "deny",
        reasons: ["no_matching_policy", "condition_unmet"],
      });
  });

  it("names those that do not hold, to the agent too, without what was seen", () => {
    expect(decide(policies, holding("days"))).toMatchObject({
      detail:
        "no access policy of agent `a` at server workload `s` allows this request now: condition `hours` does not hold",
    });
    expect(explain(policies, holding("days")).closest[0]?.failed).toEqual([
      expect.objectContaining({ clause: "conditions", wanted: ["hours"] }),
    ]);
  });

  it("does not name conditions of policies that would not fit anyway", () => {
    const narrow = compiled(hours, policy("p", { allow: { models: ["n"] }, conditions: ["hours"] }));
    expect(decide(narrow, request)).toMatchObject({ reasons: ["no_matching_policy"] });
  });

  it("has another digest when a condition changes", () => {
    const later = condition("hours", { kind: "time", zone: "UTC", hours: ["09:00-18:00"] });
    const changed = compiled(later, days, policy("p", { ...everything, conditions: ["hours", "days"] }));
    expect(changed.digest).not.toBe(policies.digest);
  });

  it("brings its conditions into the slices of its agents, and into no other", () => {
    const two = compiled(
      ...[hours, days, policy("p", { ...everything, conditions: ["hours"] })],
      policy("q", { ...everything, agents: ["b"] }),
    );
    expect(two.sliceOf("a", "s")?.conditions.map(({ name }) => name)).toEqual(["hours"]);
    expect(two.sliceOf("b", "s")?.conditions).toEqual([]);
  });
});

describe("raw Cedar", () => {
  it("permits under the conditions of its resource", () => {
    for (const end of ["", " // the end ;\n", "\n/* no comment of Cedar */".slice(0, 0)]) {
      const cedar = `permit(principal, action, resource) when { context.method == "POST" } ${end};`;
      const policies = compiled(hours, policy("p", { cedar, conditions: ["hours"] }));
      expect(decide(policies, holding("hours")).outcome).toBe("allow");
      expect(decide(policies, request)).toMatchObject({ reasons: ["no_matching_policy", "condition_unmet"] });
    }
  });

  it("forbids whether conditions hold or not", () => {
    const cedar = "forbid(principal, action, resource);";
    const policies = compiled(
      hours,
      policy("all", everything),
      policy("p", { cedar, conditions: ["hours"] }),
    );
    for (const each of [request, holding("hours")])
      expect(decide(policies, each)).toMatchObject({ reasons: ["forbidden"] });
  });

  const asking = policy("no", {
    cedar: `forbid(principal, action, resource) when { context.conditions.contains("hours") };`,
  });

  it("that forbids while a condition holds forbids also where nobody can tell", () => {
    const policies = compiled(hours, policy("all", everything), asking);
    expect(policies.sliceOf("a", "s")?.conditions.map(({ name }) => name)).toEqual(["hours"]);
    expect(decide(policies, request).outcome).toBe("allow");
    expect(decide(policies, holding("hours"))).toMatchObject({ reasons: ["forbidden"] });
    expect(decide(policies, { ...request, unknownConditions: ["hours"] })).toMatchObject({
      outcome: "deny",
      reasons: ["condition_unknown"],
      policies: ["no"],
    });
  });

  it("that names a condition which is not there is refused, with the one that was meant", () => {
    const cedar = `forbid(principal, action, resource) unless { context.conditions.containsAll(["hours", "dais"]) };`;
    expect(problemsOf(hours, days, policy("p", { cedar }))).toEqual([
      {
        ...{ kind: "AccessPolicy", name: "p", path: ["spec", "cedar"] },
        message: "asks for AccessCondition `dais`, which is not there; did you mean `days`?",
      },
    ]);
  });

  it.each([
    "context.conditions == []",
    `context.conditions.contains(context.method)`,
    `["x"].containsAll(context.conditions)`,
    `context.conditions.containsAny([context.method])`,
    `context.conditions.isEmpty()`,
    `(if true then context.conditions else []).contains("hours")`,
    `(if true then context else context).conditions.contains("hours")`,
    `{x: context}.x.conditions.contains("hours")`,
  ])("is refused where nobody could tell which conditions it asks for: %s", (clause) => {
    const problems = problemsOf(
      hours,
      policy("p", { cedar: `permit(principal, action, resource) when { ${clause} };` }),
    );
    expect(problems).not.toEqual([]);
  });

  it("may ask in any place of an expression", () => {
    const cedar = `permit(principal, action, resource) when { if context has model then !context.conditions.contains("days") else context.conditions.containsAny(["hours"]) };`;
    const policies = compiled(hours, days, policy("p", { cedar }));
    expect(policies.sliceOf("a", "s")?.conditions.map(({ name }) => name)).toEqual(["days", "hours"]);
  });
});

describe("refused is", () => {
  it("a condition that cannot be, at its own place", () => {
    expect(problemsOf(condition("c", { kind: "time", zone: "Nowhere/At-All", from: "2026-01-01" }))).toEqual([
      expect.objectContaining({ kind: "AccessCondition", name: "c", path: ["spec", "zone"] }),
    ]);
  });

  it("a policy whose conditions never hold at once", () => {
    const night = condition("night", { kind: "time", zone: "UTC", hours: ["20:00-06:00"] });
    expect(problemsOf(hours, night, policy("p", { ...everything, conditions: ["hours", "night"] }))).toEqual([
      expect.objectContaining({ name: "p", path: ["spec", "conditions"] }),
    ]);
  });
});
