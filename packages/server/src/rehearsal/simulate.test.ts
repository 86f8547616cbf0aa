// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { Resource } from "@postern/contract";
import { ok, refuse } from "../kernel/result.ts";
import { compilePolicies } from "../policy/compile.ts";
import { compiled, policy } from "../policy/policy-fixtures.ts";
import type { RecordedDecision } from "../policy/recorded-decision.ts";
import { ResourceSet } from "../resources/resource-set.ts";
import { Simulator } from "./simulate.ts";

let last = 0;

const recorded = (outcome: "allow" | "deny", model = "gpt", path = "/v1/chat"): RecordedDecision => ({
  id: `d${++last}`,
  time: last,
  agent: "a",
  serverWorkload: "s",
  outcome,
  reasons: outcome === "deny" ? ["no_matching_policy"] : [],
  policies: outcome === "allow" ? ["p"] : [],
  conditions: [],
  ...(outcome === "allow" ? { credentialProvider: "key" } : {}),
  asked: ok({ agent: "a", serverWorkload: "s", method: "POST", path, operation: "chat", model }),
});

const allows = (...models: string[]) => compiled(policy("p", { allow: { models } }));

function simulate(simulator: Simulator, decisions: readonly RecordedDecision[]) {
  for (const decision of decisions) simulator.add(decision);
  return simulator.result();
}

describe("a simulation", () => {
  it("puts what is newly allowed before everything else, however rare", () => {
    const decisions = [recorded("allow"), recorded("allow"), recorded("allow"), recorded("deny", "big")];
    const { groups, changed } = simulate(new Simulator(allows("big")), decisions);
    expect(groups.map(({ change, count }) => [change, count])).toEqual([
      ["newly_allowed", 1],
      ["newly_denied", 3],
    ]);
    expect(changed).toMatchObject({ newly_allowed: 1, other_credential: 0, newly_denied: 3 });
  });

  it("counts another credential as a change, as it is another access", () => {
    const other = compiled(policy("p", { credentialProvider: "admin-key", allow: { models: ["gpt"] } }));
    const { groups } = simulate(new Simulator(other), [recorded("allow")]);
    expect(groups).toMatchObject([
      {
        change: "other_credential",
        before: { credentialProvider: "key" },
        after: { credentialProvider: "admin-key" },
      },
    ]);
  });

  it("sees no change where another policy gives the same", () => {
    const renamed = compiled(policy("q", { allow: { models: ["gpt"] } }));
    expect(simulate(new Simulator(renamed), [recorded("allow")])).toMatchObject({ unchanged: 1, groups: [] });
  });

  it("compares with the policies of now, and says how many decisions these make otherwise already", () => {
    const result = simulate(new Simulator(allows("gpt"), allows("gpt")), [recorded("deny")]);
    expect(result).toMatchObject({ unchanged: 1, groups: [], changedSince: 1 });
    const taken = simulate(new Simulator(allows("gpt"), allows("other")), [recorded("allow")]);
    expect(taken).toMatchObject({ changed: { newly_allowed: 1 }, changedSince: 1 });
  });

  it("guesses nothing of what cannot be asked again, and counts it by its reason", () => {
    const { asked: _asked, ...rest } = recorded("deny");
    const result = simulate(new Simulator(allows("gpt")), [
      { ...rest, asked: refuse("masked") },
      { ...rest, asked: refuse("cut_short") },
      { ...rest, asked: refuse("cut_short") },
    ]);
    expect(result).toMatchObject({ decisions: 3, replayed: 0, groups: [] });
    expect(result.notReplayed).toEqual({ masked: 1, cut_short: 2 });
  });

  it("counts on where there are more groups than it keeps", () => {
    const decisions = Array.from({ length: 2100 }, (_, index) => recorded("allow", `m${index}`));
    const result = simulate(new Simulator(allows("none")), decisions);
    expect([result.groups.length, result.ungrouped, result.changed.newly_denied]).toEqual([2000, 100, 2100]);
  });

  it("keeps the newest ids of a group as examples", () => {
    const decisions = Array.from({ length: 5 }, () => recorded("allow"));
    const [group] = simulate(new Simulator(allows("none")), decisions).groups;
    expect(group).toMatchObject({ count: 5, firstTime: decisions[0]!.time, lastTime: decisions[4]!.time });
    expect(group?.examples).toEqual([4, 3, 2].map((index) => decisions[index]!.id));
  });

  it("shows what policies in dry-run would do apart, and takes it for no change", () => {
    const after = compiled(
      policy("p", { allow: { models: ["gpt"] } }),
      policy("trial", { mode: "dry-run", allow: { models: ["big"] } }),
      policy("no", {
        mode: "dry-run",
        cedar: 'forbid (principal, action, resource) when { context.path == "/v1/x" };',
      }),
    );
    const decisions = [recorded("allow"), recorded("deny", "big"), recorded("allow", "gpt", "/v1/x")];
    const { groups, unchanged } = simulate(new Simulator(after), decisions);
    expect(unchanged).toBe(3);
    expect(groups).toMatchObject([
      {
        change: "would_be_allowed",
        model: "big",
        before: { outcome: "deny" },
        after: { policies: ["trial"] },
      },
      { change: "would_be_denied", path: "/v1/x", before: { outcome: "allow" }, after: { policies: ["no"] } },
    ]);
  });

  it("judges a condition on time for the time of then, and takes a finding only of the same definition", () => {
    const hours = (from: string): Resource => ({
      kind: "AccessCondition",
      metadata: { name: "hours" },
      spec: { kind: "time", zone: "UTC", hours: [`${from}-18:00`] },
    });
    const set = (from: string) => {
      const narrowed = policy("p", { allow: { models: ["gpt"] }, conditions: ["hours"] });
      const built = compilePolicies(new ResourceSet([hours(from), narrowed]));
      if (!built.ok) throw new Error(JSON.stringify(built.reason));
      return built.value;
    };
    const at = (hour: number): RecordedDecision => ({
      ...recorded("allow"),
      time: Date.UTC(2026, 10, 20, hour),
    });
    const { groups } = simulate(new Simulator(set("09:00")), [at(8), at(9), at(17), at(18)]);
    expect(groups).toMatchObject([{ change: "newly_denied", count: 2 }]);
    const { definition } = set("09:00").sliceOf("a", "s")!.conditions[0]!;
    const found = {
      ...at(8),
      conditions: [{ name: "hours", definition, holds: true, isUnknown: false, saw: "" }],
    };
    expect(simulate(new Simulator(set("09:00")), [found])).toMatchObject({ unchanged: 1 });
    expect(simulate(new Simulator(set("10:00")), [found])).toMatchObject({ changed: { newly_denied: 1 } });
  });
});
