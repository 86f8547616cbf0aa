// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { Resource } from "@postern/contract";
import { ok } from "../kernel/result.ts";
import { policy } from "../policy/policy-fixtures.ts";
import type { RecordedDecision } from "../policy/recorded-decision.ts";
import { ResourceSet } from "../resources/resource-set.ts";
import { Reviewer } from "./review.ts";

const agent = (name: string): Resource => ({
  kind: "Agent",
  metadata: { name },
  spec: { trustProvider: "local", selectors: ["process:uid=1"] },
});

const provider = (name: string): Resource => ({
  kind: "CredentialProvider",
  metadata: { name },
  spec: { kind: "vault", secret: "s", serverWorkloads: ["s"] },
});

const allowed = (time: number, model: string, more: Partial<RecordedDecision> = {}): RecordedDecision => ({
  id: `d${time}`,
  time,
  agent: "a",
  serverWorkload: "s",
  outcome: "allow",
  reasons: [],
  policies: ["p"],
  conditions: [],
  credentialProvider: "key",
  asked: ok({ agent: "a", serverWorkload: "s", method: "POST", path: "/x", operation: "chat", model }),
  ...more,
});

const resources = new ResourceSet([
  agent("a"),
  agent("b"),
  provider("key"),
  policy("p", {
    agents: ["a", "b"],
    allow: { operations: ["chat", "embed"], modelPatterns: ["gpt-*", "o*"] },
  }),
]);

function review(set: ResourceSet, decisions: readonly RecordedDecision[], events: readonly unknown[] = []) {
  const reviewer = new Reviewer(set, 100);
  for (const event of events) reviewer.addOther(event);
  for (const decision of decisions) reviewer.add(decision);
  return reviewer.result();
}

describe("a review", () => {
  it("lists values of a policy that nothing used, with their last use before the period", () => {
    const { unused, decisions } = review(resources, [allowed(50, "o3"), allowed(150, "gpt-5")]);
    expect(decisions).toBe(1);
    expect(unused).toEqual([
      { kind: "agent", name: "b" },
      { kind: "value_of_policy", policy: "p", field: "operations", name: "embed" },
      { kind: "value_of_policy", policy: "p", field: "modelPatterns", name: "o*", lastUse: 50 },
    ]);
  });

  it("lists what is unused as a whole and not its parts", () => {
    expect(review(resources, []).unused.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      "agent a",
      "agent b",
      "credential_provider key",
      "policy p",
    ]);
  });

  it("takes no denied request for a use, but a forbid is used by denying", () => {
    const forbids = policy("never", { cedar: "forbid (principal, action, resource);" });
    const denied = allowed(150, "gpt-5", { outcome: "deny", policies: ["never"], reasons: ["forbidden"] });
    const names = review(resources.with({ put: [forbids] }), [denied]).unused.map(({ name }) => name);
    expect(names).toContain("p");
    expect(names).not.toContain("never");
  });

  it("says where something was made in the period and had less time to be used", () => {
    const created = (name: string, time: number) => ({
      time,
      unmapped: { kind: "resource_change", change: "create", resource_kind: "AccessPolicy", name },
    });
    const { unused } = review(
      resources,
      [],
      [created("p", 170), created("gone", 160), undefined, { time: 1 }],
    );
    expect(unused.find(({ kind }) => kind === "policy")).toEqual({
      kind: "policy",
      name: "p",
      createdAt: 170,
    });
  });
});
