// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { accessDiff } from "./access-diff.ts";
import { approvalRulesOf } from "./approval-rules.ts";
import { decide } from "./decide.ts";
import { compiled, type Condition, condition, type Policy, policy } from "./policy-fixtures.ts";

const sideOf = (...resources: readonly (Policy | Condition)[]) => ({
  policies: compiled(...resources),
  rules: approvalRulesOf({
    all: () => resources.filter((each): each is Policy => each.kind === "AccessPolicy"),
    get: () => undefined,
  }),
});
const diff = (before: readonly (Policy | Condition)[], after: readonly (Policy | Condition)[]) =>
  accessDiff(sideOf(...before), sideOf(...after));
const p = (allow: Policy["spec"]["allow"], more: Partial<Policy["spec"]> = {}): Policy =>
  policy("p", { allow, ...more });

describe("who gains and who loses", () => {
  it("is said with the models of one operation in one line", () => {
    const before = p({ operations: ["chat"], models: ["a", "b"] });
    const after = p({ operations: ["chat", "embed"], models: ["b", "c"] });
    expect(diff([before], [after])).toEqual([
      {
        agents: ["a"],
        serverWorkload: "s",
        gains: [
          "chat with model c, by credential provider key",
          "embed with model b, c, by credential provider key",
        ],
        loses: ["chat with model a, by credential provider key"],
        conditions: [],
      },
    ]);
  });

  it("is nobody where another policy or a wider pattern gives the same", () => {
    const wide = policy("wide", { allow: { modelPatterns: ["gpt-*"] } });
    expect(diff([wide, p({ models: ["gpt-5"] })], [wide])).toEqual([]);
    expect(diff([wide], [wide, p({ operations: ["chat"], modelPatterns: ["gpt-5*"] })])).toEqual([]);
    expect(diff([p({ everything: true })], [p({ everything: true }), wide])).toEqual([]);
    expect(diff([p({ models: ["x"] })], [policy("q", { allow: { models: ["x"] } })])).toEqual([]);
  });

  it("is not hidden by another credential provider or by a condition less", () => {
    const other = diff([p({ models: ["x"] })], [p({ models: ["x"] }, { credentialProvider: "admin" })]);
    expect(other).toMatchObject([
      { gains: ["everything with model x, by credential provider admin"], loses: [expect.any(String)] },
    ]);
    const hours = condition("hours", { kind: "time", zone: "UTC", hours: ["09:00-17:00"] });
    const [free, narrow] = [p({ models: ["x"] }), p({ models: ["x"] }, { conditions: ["hours"] })];
    const freely = "everything with model x, by credential provider key";
    expect(diff([hours, narrow], [hours, free])).toMatchObject([{ gains: [freely], loses: [] }]);
    expect(diff([hours, free], [hours, narrow])).toMatchObject([{ gains: [], loses: [freely] }]);
    expect(diff([hours], [hours, narrow])).toMatchObject([
      { gains: ["everything with model x while hours holds, by credential provider key"] },
    ]);
  });

  it("does not hide that a request is denied which two credential providers would serve", () => {
    const admin = policy("admin", { credentialProvider: "admin", allow: { everything: true } });
    const [change] = diff([p({ models: ["x"] })], [p({ models: ["x"] }), admin]);
    expect(change?.loses).toEqual([
      "everything with model x, by credential provider key, because another policy uses another one for it",
    ]);
  });

  it("names conditions that are not what they were, for those whose policies ask for them", () => {
    const hours = (span: string): Condition =>
      condition("hours", { kind: "time", zone: "UTC", hours: [span] });
    const narrow = p({ models: ["x"] }, { conditions: ["hours"] });
    const other = policy("other", { agents: ["b"], allow: { models: ["x"] } });
    expect(diff([hours("09:00-17:00"), narrow, other], [hours("00:00-24:00"), narrow, other])).toEqual([
      { agents: ["a"], serverWorkload: "s", gains: [], loses: [], conditions: ["hours"] },
    ]);
    expect(diff([hours("09:00-17:00"), narrow], [hours("09:00-17:00"), narrow])).toEqual([]);
  });

  it("takes a person who is asked no more for a gain, and one who is asked now for a loss", () => {
    const approval: NonNullable<Policy["spec"]["approval"]> = {
      ...({ approvers: ["alice", "bob"], needed: 2, when: "always", ownerMayApprove: false } as const),
      ...{ wait: 5, expiresAfter: 900, validFor: 900, uses: 1, for: { models: ["x"] } },
      asksPerHour: 60,
    };
    const [free, asks] = [p({ models: ["x", "y"] }), p({ models: ["x", "y"] }, { approval })];
    const without = "to go ahead without 2 yeses of alice, bob, for models x (`p`)";
    expect(diff([asks], [free])).toMatchObject([{ gains: [without], loses: [] }]);
    expect(diff([free], [asks])).toMatchObject([{ gains: [], loses: [without] }]);
    const other = policy("other", { allow: { models: ["x"] } });
    expect(diff([asks, other], [other])).toMatchObject([
      { gains: [without], loses: [expect.stringContaining("model y")] },
    ]);
    expect(diff([asks], [])).toMatchObject([{ gains: [] }]);
    const less = p({ models: ["x", "y"] }, { approval: { ...approval, unless: ["hours"] } });
    expect(diff([asks], [less])).toMatchObject([
      { gains: [without], loses: [expect.stringContaining("unless")] },
    ]);
    expect(diff([asks], [p({ models: ["x", "y"] }, { approval: { ...approval, needed: 1 } })])).toMatchObject(
      [{ gains: [without], loses: ["to go ahead without a yes of alice or bob, for models x (`p`)"] }],
    );
  });

  it("names agents that are added and taken away, together where they fare alike", () => {
    const changes = diff(
      [p({ models: ["x"] }, { agents: ["a", "b"] })],
      [p({ models: ["x"] }, { agents: ["c", "d"] })],
    );
    expect(changes.map(({ agents, gains, loses }) => [agents, gains.length, loses.length])).toEqual([
      [["a", "b"], 0, 1],
      [["c", "d"], 1, 0],
    ]);
  });

  it("names forbids that come and go, and nothing of a policy in dry-run", () => {
    const forbids = policy("no", { cedar: "forbid (principal, action, resource);" });
    const all = p({ everything: true });
    expect(diff([all], [all, forbids])).toMatchObject([
      { gains: [], loses: ["what is forbidden by `no#0`: forbid (principal, action, resource);"] },
    ]);
    expect(diff([all, forbids], [all])).toMatchObject([
      { gains: ["what was forbidden by `no#0`: forbid (principal, action, resource);"] },
    ]);
    expect(diff([all], [all, { ...forbids, spec: { ...forbids.spec, mode: "dry-run" } }])).toEqual([]);
  });

  it("says that something is gained whenever a request is newly allowed", () => {
    const values = fc.constantFrom("gpt-4", "gpt-5", "o3");
    const patterns = fc.constantFrom("gpt-*", "*", "o*", "*5");
    const some = fc.record(
      {
        operations: fc.uniqueArray(fc.constantFrom("chat", "embed"), { minLength: 1 }),
        models: fc.uniqueArray(values, { minLength: 1 }),
        paths: fc.uniqueArray(fc.constantFrom("/x", "/y"), { minLength: 1 }),
      },
      { requiredKeys: ["operations"] },
    );
    const patterned = fc.record({ modelPatterns: fc.uniqueArray(patterns, { minLength: 1 }) });
    const sets = fc
      .array(fc.oneof(some, patterned), { maxLength: 3 })
      .map((allows) => sideOf(...allows.map((allow, index) => policy(`p${index}`, { allow }))));
    fc.assert(
      fc.property(
        sets,
        sets,
        fc.constantFrom("chat", "embed", undefined),
        fc.option(values, { nil: undefined }),
        fc.constantFrom("/x", "/y"),
        (before, after, operation, model, path) => {
          const request = {
            ...{ agent: "a", serverWorkload: "s", method: "POST", path },
            ...(operation === undefined ? {} : { operation }),
            ...(model === undefined ? {} : { model }),
          };
          const [was, is] = [
            decide(before.policies, request).outcome,
            decide(after.policies, request).outcome,
          ];
          const [change] = accessDiff(before, after);
          if (was === "deny" && is === "allow") expect(change?.gains).not.toEqual([]);
          if (was === "allow" && is === "deny") expect(change?.loses).not.toEqual([]);
          return true;
        },
      ),
      { numRuns: 150 },
    );
  });
});
