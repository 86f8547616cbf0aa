// SPDX-License-Identifier: Apache-2.0
/** A policy in dry-run is decided and recorded, and nothing happens because of it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AccessRequest } from "./access-request.ts";
import { decide } from "./decide.ts";
import { explain, explanationText } from "./explain.ts";
import { compiled, type Policy, policy } from "./policy-fixtures.ts";

const request: AccessRequest = {
  agent: "a",
  serverWorkload: "s",
  method: "POST",
  path: "/v1/x",
  operation: "chat",
  model: "gpt",
};

const permits = (name: string, more: Partial<Policy["spec"]> = {}): Policy =>
  policy(name, { allow: { models: ["gpt"] }, ...more });
const forbids = (name: string, more: Partial<Policy["spec"]> = {}): Policy =>
  policy(name, { cedar: "forbid (principal, action, resource);", ...more });
const DRY = { mode: "dry-run" } as const;

describe("a policy in dry-run", () => {
  it("that permits lets nothing through, and the decision says what it would do", () => {
    const decision = decide(compiled(permits("trial", DRY)), request);
    expect(decision).toMatchObject({
      outcome: "deny",
      reasons: ["no_matching_policy"],
      policies: [],
      dryRun: { outcome: "allow", policies: ["trial"], credentialProvider: "key", reasons: [] },
    });
  });

  it("that forbids stops nothing", () => {
    const decision = decide(compiled(permits("p"), forbids("trial", DRY)), request);
    expect(decision).toMatchObject({
      outcome: "allow",
      policies: ["p"],
      credentialProvider: "key",
      dryRun: { outcome: "deny", policies: ["trial"], reasons: ["forbidden"] },
    });
    expect(Object.isFrozen(decision)).toBe(true);
  });

  it("that fails while it is evaluated denies nothing", () => {
    const cedar = "forbid (principal, action, resource) when { 9223372036854775807 + 1 > 0 };";
    const decision = decide(compiled(permits("p"), policy("trial", { cedar, ...DRY })), request);
    expect(decision).toMatchObject({
      outcome: "allow",
      dryRun: { outcome: "deny", reasons: ["policy_error"] },
    });
  });

  it("with another credential provider takes no part in which one is used", () => {
    const other = permits("trial", { credentialProvider: "other", ...DRY });
    expect(decide(compiled(permits("p"), other), request)).toMatchObject({
      outcome: "allow",
      credentialProvider: "key",
      dryRun: { outcome: "deny", reasons: ["credential_ambiguous"] },
    });
  });

  it("costs those nothing whom it does not name: their decisions are the very same objects' worth", () => {
    const set = compiled(permits("p", { agents: ["a", "b"] }), forbids("trial", { agents: ["b"], ...DRY }));
    expect(decide(set, request)).not.toHaveProperty("dryRun");
    expect(decide(set, { ...request, agent: "b" })).toHaveProperty("dryRun");
    expect(compiled(permits("p")).dryRunSliceOf).toBeUndefined();
    const first = decide(set, { ...request, agent: "b" });
    expect(decide(set, { ...request, agent: "b" })).toBe(first);
  });

  it("changes the digest when it is enforced", () => {
    expect(compiled(permits("p", DRY)).digest).not.toBe(compiled(permits("p")).digest);
    expect(compiled(permits("p", { mode: "enforce" })).digest).toBe(compiled(permits("p")).digest);
  });

  it("is named by `why` as not in force, and not as what came closest", () => {
    const text = explanationText(
      explain(compiled(permits("trial", DRY), permits("p", { allow: { models: ["x"] } })), request),
    );
    expect(text).toContain(
      "DRY-RUN, not in force: with the policies in dry-run it would be allowed by `trial`\n",
    );
    expect(text).toContain("closest: `p`");
    expect(text).not.toContain("closest: `trial`");
  });

  it("never changes a decision, whatever the policies are", () => {
    const anyPolicy = fc.record({
      kind: fc.constantFrom("permit", "forbid"),
      model: fc.constantFrom("gpt", "big"),
      dry: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(anyPolicy, { minLength: 1, maxLength: 6 }),
        fc.constantFrom("gpt", "big"),
        (some, model) => {
          const all = some.map(({ kind, model: wanted, dry }, index) => {
            const cedar = `${kind} (principal, action, resource) when { context has model && context.model == "${wanted}" };`;
            return policy(`p${index}`, { cedar, ...(dry ? DRY : {}) });
          });
          const asked = { ...request, model };
          const { dryRun, ...decision } = decide(compiled(...all), asked);
          expect(decision).toEqual({
            ...decide(compiled(...all.filter(({ spec }) => spec.mode !== "dry-run")), asked),
          });
          const enforced = decide(
            compiled(...all.map((each) => ({ ...each, spec: { ...each.spec, mode: "enforce" as const } }))),
            asked,
          );
          if (dryRun !== undefined)
            expect(dryRun).toMatchObject({ outcome: enforced.outcome, policies: enforced.policies });
        },
      ),
      { numRuns: 60 },
    );
  });
});
