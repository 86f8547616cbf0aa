// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AccessRequest } from "./access-request.ts";
import type { AllowSpec } from "./clauses.ts";
import { decide } from "./decide.ts";
import { explain } from "./explain.ts";
import { compiled, condition, type Policy, policy } from "./policy-fixtures.ts";

const request: AccessRequest = { agent: "a", serverWorkload: "s", method: "POST", path: "/v1/x", model: "m" };
const everything = { allow: { everything: true } } as const;

describe("denied is", () => {
  test("everything, where there are no policies", () => {
    expect(decide(compiled(), request)).toMatchObject({
      outcome: "deny",
      reasons: ["no_matching_policy"],
      policies: [],
    });
  });

  test("what a forbid names, whatever permits it", () => {
    const policies = compiled(
      policy("all", everything),
      policy("no-m", {
        cedar: `forbid(principal, action, resource) when { context has model && context.model == "m" };`,
      }),
    );
    expect(decide(policies, request)).toMatchObject({
      outcome: "deny",
      reasons: ["forbidden"],
      policies: ["no-m"],
    });
    expect(decide(policies, { ...request, model: "n" }).outcome).toBe("allow");
  });

  test("every request for which a policy errors, though another permits it", () => {
    const overflow = `forbid(principal, action, resource) when { 9223372036854775807 + 1 > 3 };`;
    const policies = compiled(policy("all", everything), policy("bad", { cedar: overflow }));
    expect(decide(policies, request)).toMatchObject({
      outcome: "deny",
      reasons: ["policy_error"],
      policies: ["bad"],
    });
  });

  test("a request that two policies permit with different credentials", () => {
    const policies = compiled(
      policy("p", everything),
      policy("q", { ...everything, credentialProvider: "other" }),
    );
    expect(decide(policies, request)).toMatchObject({ outcome: "deny", reasons: ["credential_ambiguous"] });
  });

  test.each([
    { model: "m".repeat(201) },
    { operation: "o".repeat(101) },
    { method: "M".repeat(21) },
    { path: `/${"p".repeat(8192)}` },
    { model: "\ud800" },
    { path: "/\udfff" },
  ])("a string out of bounds, under a policy that allows everything", (odd) => {
    const policies = compiled(policy("p", everything));
    expect(decide(policies, { ...request, ...odd })).toMatchObject({
      outcome: "deny",
      reasons: ["policy_error"],
    });
  });

  test("a value of a wrong type, as the context does not fit the schema", () => {
    const policies = compiled(policy("p", everything));
    for (const model of [7, null, ["m"], { __entity: { type: "Postern::Agent", id: "a" } }]) {
      // @ts-expect-error: the types forbid it; a caller past the types must still be denied
      const odd: AccessRequest = { ...request, model };
      expect(decide(policies, odd).outcome).toBe("deny");
    }
  });
});

describe("allowed", () => {
  test("names policies and credential provider, and cannot be changed by who gets it", () => {
    const allow = decide(compiled(policy("p", everything), policy("q", everything)), request);
    expect(allow).toEqual({
      outcome: "allow",
      policies: ["p", "q"],
      credentialProvider: "key",
      serverWorkload: "s",
      agent: "a",
    });
    expect(() => Object.assign(allow, { credentialProvider: "stolen" })).toThrow(TypeError);
  });

  test("by one policy is not allowed by the next set of policies", () => {
    expect(decide(compiled(policy("p", everything)), request).outcome).toBe("allow");
    expect(decide(compiled(policy("p", { allow: { models: ["n"] } })), request).outcome).toBe("deny");
  });
});

test("an absent value and its look-alikes are different requests", () => {
  const { model: _, ...without } = request;
  const policies = compiled(policy("p", { allow: { models: ["null", "", "undefined"] } }));
  for (const model of ["null", "undefined", ""])
    expect(decide(policies, { ...without, model }).outcome).toBe("allow");
  expect(decide(policies, without).outcome).toBe("deny");
});

describe("a decision that is kept", () => {
  const conditions = ["a", "b", "a,b", "null"].map((name) =>
    condition(name, { kind: "delegation", maxDepth: 9 }),
  );
  const policies = [
    policy("one", { conditions: ["a"], allow: { models: ["m"] } }),
    policy("two", { conditions: ["b"], allow: { operations: ["m"] } }),
    policy("joined", { conditions: ["a,b"], allow: { methods: ["GET"], paths: ["/m"] } }),
    policy("no", {
      cedar: `forbid(principal, action, resource) when { context.conditions.contains("null") && context.path == "/m" };`,
    }),
  ];
  const maybe = <T>(...values: T[]): (T | undefined)[] => [undefined, ...values];
  const questions: AccessRequest[] = maybe("m", "GET").flatMap((operation) =>
    maybe("m", "null").flatMap((model) =>
      ["GET", "m"].flatMap((method) =>
        ["/", "/m"].flatMap((path) =>
          maybe(["a"], ["b"], ["a", "b"], ["a,b"], ["null"]).flatMap((holding) =>
            maybe(["a"], ["null"]).map((unknown) => ({
              ...{ agent: "a", serverWorkload: "s", method, path },
              ...(operation === undefined ? {} : { operation }),
              ...(model === undefined ? {} : { model }),
              ...(holding === undefined ? {} : { conditions: holding }),
              ...(unknown === undefined ? {} : { unknownConditions: unknown }),
            })),
          ),
        ),
      ),
    ),
  );

  test("answers the very same question only: as one that has never been asked anything", () => {
    const kept = compiled(...conditions, ...policies);
    const outcomes = new Set<string>();
    for (const asked of questions) {
      const decision = decide(kept, asked);
      outcomes.add(decision.outcome);
      expect(decide(compiled(...conditions, ...policies), asked)).toEqual(decision);
    }
    expect(outcomes.size).toBe(2);
  });

  test("falls with the policies and with the definition of a condition: nothing of one set is known to the next", () => {
    const held = { ...request, conditions: ["a"] };
    const before = compiled(condition("a", { kind: "delegation", maxDepth: 0 }), policies[0]!);
    const after = compiled(condition("a", { kind: "delegation", maxDepth: 1 }), policies[0]!);
    const allow = decide(before, held);
    expect(allow.outcome).toBe("allow");
    expect(decide(before, held)).toBe(allow);
    expect(after.digest).not.toBe(before.digest);
    expect(decide(after, held)).not.toBe(allow);
  });

  test("does so however many others were asked for in between", () => {
    const kept = compiled(policy("p", { allow: { paths: ["/kept"] } }));
    const ask = (path: string) => decide(kept, { ...request, path }).outcome;
    for (let round = 0; round < 3; round++) {
      expect(ask("/kept")).toBe("allow");
      for (let n = 0; n < 6000; n++) ask(`/other/${n % 5500}`);
    }
    expect(ask("/kept")).toBe("allow");
    expect(ask("/other/1")).toBe("deny");
  });
});

// ---- structured policies against a naive reference ------------------------------------------------------------

/** Small alphabets, so that random policies and requests meet; nasty ones, so that escaping is tested. */
const word = fc.oneof(
  { arbitrary: fc.constantFrom("m", "gpt-4o"), weight: 8 },
  {
    arbitrary: fc.constantFrom(
      "gpt-4o-mini",
      "a*b",
      `") || true //`,
      "\\",
      `"`,
      "é",
      "e\u0301",
      "😀",
      "\u0000",
      "null",
    ),
    weight: 2,
  },
  { arbitrary: fc.string({ unit: "binary", maxLength: 4 }), weight: 1 },
);
const glob = fc
  .array(
    fc.oneof(
      fc.constant("*"),
      fc.constant("*"),
      fc.constantFrom("gpt", "-", "4o", "m", "é", "😀", "\\", `"`, ")", "/"),
    ),
    {
      minLength: 1,
      maxLength: 4,
    },
  )
  .map((parts) => parts.join(""));
const listOf = (of: fc.Arbitrary<string>) => fc.array(of, { minLength: 1, maxLength: 4 });
const path = fc.oneof(fc.constantFrom("", "m", "gpt"), glob, word).map((text) => `/${text}`);

/** `models` beside `modelPatterns` can be dead and refused, so one of them at a time. */
const allowSpec: fc.Arbitrary<AllowSpec> = fc
  .record(
    {
      operations: listOf(word),
      model: fc.oneof(
        listOf(word).map((models) => ({ models })),
        listOf(glob).map((modelPatterns) => ({ modelPatterns })),
      ),
      methods: listOf(fc.constantFrom("GET", "POST", "DELETE")),
      path: fc.oneof(
        listOf(path).map((paths) => ({ paths })),
        listOf(path).map((pathPatterns) => ({ pathPatterns })),
      ),
    },
    { requiredKeys: [] },
  )
  .map(({ model, path: paths, ...rest }) => ({ ...rest, ...model, ...paths }));

const names = fc.constantFrom("a", "b");
const policySet: fc.Arbitrary<Policy[]> = fc
  .array(
    fc.record({ agents: fc.uniqueArray(names, { minLength: 1 }), serverWorkload: names, allow: allowSpec }),
    {
      minLength: 1,
      // At most p9: names are told in their order as text.
      maxLength: 10,
      size: "max",
    },
  )
  .map((specs) => specs.map((spec, index) => policy(`p${index}`, spec)));

const anyRequest: fc.Arbitrary<AccessRequest> = fc.record(
  {
    agent: names,
    serverWorkload: names,
    method: fc.constantFrom("GET", "POST", "DELETE"),
    path,
    operation: word,
    model: fc.oneof(word, glob),
  },
  { requiredKeys: ["agent", "serverWorkload", "method", "path"] },
);

/** By the schema's words alone: every field that is there must hold. Recursive on purpose, unlike the product. */
function naivelyAllows({ spec }: Policy, asked: AccessRequest): boolean {
  const { operations, models, modelPatterns, methods, paths, pathPatterns } = spec.allow ?? {};
  const among = (list: readonly string[] | undefined, value: string | undefined): boolean =>
    list === undefined || (value !== undefined && list.includes(value));
  const like = (list: readonly string[] | undefined, value: string | undefined): boolean =>
    list === undefined ||
    (value !== undefined && list.some((one) => matches(Array.from(one), Array.from(value))));
  return (
    spec.agents.includes(asked.agent) &&
    spec.serverWorkload === asked.serverWorkload &&
    among(operations, asked.operation) &&
    among(models, asked.model) &&
    like(modelPatterns, asked.model) &&
    among(methods, asked.method) &&
    among(paths, asked.path) &&
    like(pathPatterns, asked.path)
  );
}

function matches([first, ...rest]: string[], text: string[]): boolean {
  if (first === undefined) return text.length === 0;
  if (first !== "*") return text[0] === first && matches(rest, text.slice(1));
  return matches(rest, text) || (text.length > 0 && matches([first, ...rest], text.slice(1)));
}

test("Cedar, the naive reference and the explanation agree on thousands of random requests", () => {
  const outcomes = { allow: 0, deny: 0 };
  fc.assert(
    fc.property(policySet, fc.array(anyRequest, { minLength: 20, maxLength: 20 }), (policies, requests) => {
      const set = compiled(...policies);
      for (const asked of requests) {
        const decision = decide(set, asked);
        const expected = policies
          .filter((one) => naivelyAllows(one, asked))
          .map(({ metadata }) => metadata.name);
        outcomes[decision.outcome]++;
        expect([decision.outcome, decision.policies]).toEqual([
          expected.length > 0 ? "allow" : "deny",
          expected,
        ]);
        const { determining, closest } = explain(set, asked);
        expect(
          determining.every(({ clauses }) => clauses.every(({ matched }) => matched !== undefined)),
        ).toBe(true);
        expect(closest.every(({ failed }) => failed.length > 0)).toBe(true);
        expect(determining.map(({ policy: name }) => name)).toEqual(expected);
        expect(decide(set, asked)).toBe(decision);
      }
    }),
    { numRuns: 300 },
  );
  // The generators must meet often enough to mean something.
  expect(Math.min(outcomes.allow, outcomes.deny)).toBeGreaterThan(500);
});
