// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { ResourceOf } from "@postern/contract";
import type { AccessRequest, Allow } from "./access-request.ts";
import { type ApprovalRule, approvalRulesOf, isContent, mayApprove, rulesFor } from "./approval-rules.ts";

type Policy = ResourceOf<"AccessPolicy">;
const approval = { approvers: ["ann", "bob"], needed: 1, when: "always", ownerMayApprove: false } as const;
const times = { wait: 5, expiresAfter: 900, validFor: 900, uses: 1, asksPerHour: 60 };

const policy = (name: string, more: Partial<Policy["spec"]["approval"]> | undefined): Policy => ({
  kind: "AccessPolicy",
  metadata: { name },
  spec: {
    ...{ agents: ["a"], serverWorkload: "w", credentialProvider: "c", allow: { everything: true } },
    ...(more === undefined
      ? {}
      : { approval: { ...approval, ...times, approvers: ["ann", "bob"], ...more } }),
  },
});
const source = (policies: readonly Policy[], workload: unknown = { hosts: ["h"] }) => ({
  all: () => policies,
  get: () => ({ spec: workload }) as never,
});
const allow = (...policies: string[]) => ({ outcome: "allow", policies }) as unknown as Allow;
const request: AccessRequest = {
  ...{ agent: "a", serverWorkload: "w", method: "POST", path: "/v1/x", operation: "op", model: "m" },
};

describe("rulesFor", () => {
  it("is nothing at all where no policy asks anybody", () => {
    expect(approvalRulesOf(source([policy("p", undefined)]))).toBeUndefined();
    expect(rulesFor(undefined, allow("p"), request)).toEqual([]);
  });

  it("asks although another policy would allow the same without asking", () => {
    const rules = approvalRulesOf(source([policy("free", undefined), policy("asks", {})]));
    expect(rulesFor(rules, allow("asks", "free"), request).map((rule) => rule.policy)).toEqual(["asks"]);
  });

  it.each([
    [{ operations: ["op"] }, true],
    [{ operations: ["other"] }, false],
    [{ operations: ["op"], models: ["other"] }, false],
    [{ modelPatterns: ["m*"] }, true],
    [{ pathPatterns: ["/v2/*"] }, false],
  ])("asks for %j: %s", (part, isAsked) => {
    const rules = approvalRulesOf(source([policy("p", { for: part })]));
    expect(rulesFor(rules, allow("p"), request)).toHaveLength(isAsked ? 1 : 0);
  });

  it.each([
    [undefined, true],
    [["small"], true],
    [["day"], true],
    [["day", "small"], false],
    [["day", "other", "small"], false],
  ])("asks unless all conditions hold: of %j", (conditions, isAsked) => {
    const rules = approvalRulesOf(source([policy("p", { unless: ["small", "day"] })]));
    const judged = conditions === undefined ? request : { ...request, conditions };
    expect(rulesFor(rules, allow("p"), judged)).toHaveLength(isAsked ? 1 : 0);
    const unknown = { ...judged, unknownConditions: ["small", "day"] };
    expect(rulesFor(rules, allow("p"), { ...unknown, conditions: [] })).toHaveLength(1);
  });

  it("has another basis when the policy, or where the request goes, is another", () => {
    const basis = (policies: Policy[], workload?: unknown) =>
      approvalRulesOf(source(policies, workload))!.get("p")!.basis;
    const first = basis([policy("p", {})]);
    expect(basis([policy("p", {})])).toBe(first);
    expect(basis([policy("p", { uses: 2 })])).not.toBe(first);
    expect(basis([policy("p", {})], { hosts: ["evil"] })).not.toBe(first);
    expect(basis([policy("p", {}), policy("q", {})])).toBe(first);
  });
});

describe("isContent", () => {
  const ann = { name: "ann", identities: ["uid:1", "slack:T1/UANN"] };
  const bob = { name: "bob", identities: ["uid:2"] };
  const eve = { name: "eve", identities: ["uid:3"] };
  const two: Pick<ApprovalRule, "approvers" | "needed" | "ownerMayApprove"> = {
    ...approval,
    approvers: ["ann", "bob"],
    needed: 2,
  };

  it("counts a person once, however often and by whatever way they say yes", () => {
    expect(isContent(two, [ann, ann, { ...ann, identities: ["slack:T1/UANN"] }], undefined)).toBe(false);
    expect(isContent(two, [ann, bob], undefined)).toBe(true);
  });

  it("does not count somebody whom the policy does not name", () => {
    expect(isContent({ ...two, needed: 1 }, [eve], undefined)).toBe(false);
    expect(isContent(two, [ann, eve], undefined)).toBe(false);
  });

  it.each(["ann", "uid:1", "slack:T1/UANN"])(
    "does not count the agent's owner, named %s, unless the policy says so",
    (owner) => {
      expect(mayApprove(two, ann, owner)).toBe(false);
      expect(isContent(two, [ann, bob], owner)).toBe(false);
      expect(mayApprove({ ...two, ownerMayApprove: true }, ann, owner)).toBe(true);
    },
  );
});
