// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { ok, refuse } from "../kernel/result.ts";
import { compiled, policy } from "../policy/policy-fixtures.ts";
import type { RecordedDecision } from "../policy/recorded-decision.ts";
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
    expect(changed).toEqual({ newly_allowed: 1, other_credential: 0, newly_denied: 3 });
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
});
