// SPDX-License-Identifier: Apache-2.0
import { validate } from "@cedar-policy/cedar-wasm/nodejs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CEDAR_SCHEMA } from "./cedar-schema.ts";
import { decide } from "./decide.ts";
import { compiled, policy, problemsOf } from "./policy-fixtures.ts";

const request = { agent: "a", serverWorkload: "s", method: "GET", path: "/" };

describe("hostile strings in a structured policy", () => {
  const hostile = [
    `") || true //`,
    `" }; permit(principal, action, resource); //`,
    `\\`,
    `\\"`,
    `\\*`,
    `a\nb\u0000c`,
    `\u202e`,
    `"`,
    "{{",
    "?principal",
  ];

  test.each(hostile)("stay a value where they are exact: %j", (text) => {
    const policies = compiled(policy("p", { allow: { models: [text] } }));
    expect(decide(policies, { ...request, model: text }).outcome).toBe("allow");
    expect(decide(policies, { ...request, model: `${text}x` }).outcome).toBe("deny");
    expect(decide(policies, { ...request, model: "other" }).outcome).toBe("deny");
    expect(decide(policies, request).outcome).toBe("deny");
  });

  test.each(hostile.filter((text) => !text.includes("*")))("stay a value in a pattern: %j", (text) => {
    const policies = compiled(policy("p", { allow: { modelPatterns: [`${text}*`, `x${text}`] } }));
    expect(decide(policies, { ...request, model: `${text}tail` }).outcome).toBe("allow");
    expect(decide(policies, { ...request, model: `x${text}` }).outcome).toBe("allow");
    expect(decide(policies, { ...request, model: "other" }).outcome).toBe("deny");
  });

  test("compile to valid policies of one statement each, for every list of strings", () => {
    const strings = fc.array(fc.string({ unit: "binary", minLength: 1 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(strings, strings, (operations, modelPatterns) => {
        const { policies } = compiled(policy("p", { allow: { operations, modelPatterns } }));
        const answer = validate({
          validationSettings: { mode: "strict" },
          schema: CEDAR_SCHEMA,
          policies: { staticPolicies: Object.fromEntries(policies.map(({ id, cedar }) => [id, cedar])) },
        });
        expect(answer).toMatchObject({ type: "success", validationErrors: [] });
        expect(policies).toHaveLength(1);
      }),
      { numRuns: 100 },
    );
  });

  test("that are no well-formed Unicode are refused with their place", () => {
    expect(problemsOf(policy("p", { allow: { models: ["ok", "\ud800"] } }))).toEqual([
      {
        kind: "AccessPolicy",
        name: "p",
        path: ["spec", "allow", "models", 1],
        message: "is not well-formed Unicode",
      },
    ]);
  });
});

test("a star in an exact value matches only a star", () => {
  const policies = compiled(policy("p", { allow: { models: ["gpt-*"] } }));
  expect(decide(policies, { ...request, model: "gpt-*" }).outcome).toBe("allow");
  expect(decide(policies, { ...request, model: "gpt-4o" }).outcome).toBe("deny");
});

test("the longest lists that the schema takes are decided", () => {
  const names = Array.from({ length: 200 }, (_, index) => `/m${index}*`);
  const allow = {
    modelPatterns: names,
    pathPatterns: names,
    operations: names,
    methods: names.slice(0, 20),
  };
  const policies = compiled(policy("p", { allow }));
  const hit = { ...request, operation: "/m199*", model: "/m199x", path: "/m7/x", method: "/m19*" };
  expect(decide(policies, hit).outcome).toBe("allow");
  expect(decide(policies, { ...hit, model: "/x" }).outcome).toBe("deny");
});

test("an exact value that no pattern beside it matches is refused as dead", () => {
  expect(problemsOf(policy("p", { allow: { models: ["gpt-4o", "o3"], modelPatterns: ["gpt-*"] } }))).toEqual([
    {
      kind: "AccessPolicy",
      name: "p",
      path: ["spec", "allow", "models", 1],
      message: expect.stringContaining("`o3` matches none"),
    },
  ]);
});

describe("raw Cedar", () => {
  const cedarProblems = (cedar: string) =>
    problemsOf(policy("p", { cedar, agents: ["a", "b"] })).map(({ message }) => message);

  test.each([
    [`permit(principal == ?principal, action, resource);`, "template"],
    [`permit(principal, action, resource) when { context.modle == "x" };`, "did you mean `model`?"],
    [`permit(principal, action, resource) when { context.model == "x" };`, "optional attribute"],
    [`permit(principal, action, resource) when { context.method == 1 };`, "p#0"],
    [`permit(principal is Postern::Agnt, action, resource);`, "Postern::Agent"],
    [`forbid(principal == Postern::Agent::"bb", action, resource);`, "did you mean `b`?"],
    [`forbid(principal, action, resource) when { principal == Postern::Agent::"zzz" };`, "names agent `zzz`"],
    [`permit(principal, action, resource == Postern::ServerWorkload::"t");`, "this policy is for `s`"],
    [`forbid(principal, action == Postern::Action::"cal", resource);`, "cal"],
    [`forbid(principal, action, resource) when { ip("1.2.3") == ip("1.2.3.4") };`, "IP"],
    [`forbid(principal, action, resource) when { false };`, "impossible"],
    [`permit(principal, action, resource)`, "line 1"],
    [`// nothing`, "no policy"],
    [`permit(principal, action, resource) when { context.method == "\ud800" };`, "well-formed"],
  ])("%s is refused", (cedar, expected) => {
    expect(cedarProblems(cedar).join("\n")).toContain(expected);
  });

  test("problems name line and column of the text, behind characters of several bytes", () => {
    const cedar = `// ääää\npermit(principal, action, resource);\nforbid(principal, action, resource)\n  when { context.modle == "ä" };`;
    expect(cedarProblems(cedar)).toEqual([expect.stringContaining("line 4, column 10 of `cedar`")]);
  });

  test("all problems are told at once", () => {
    const bad = `permit(principal, action, resource) when { context.modle == "x" };`;
    expect(cedarProblems(bad + bad)).toHaveLength(2);
  });

  test("statements are numbered in the order of the text, also beyond ten", () => {
    const cedar = Array.from(
      { length: 12 },
      (_, index) => `permit(principal, action, resource) when { context.method == "M${index}" };`,
    ).join("\n");
    const texts = compiled(policy("p", { cedar })).policies.map(
      (one) => `${one.id} ${JSON.stringify(one.cedar)}`,
    );
    expect(texts).toEqual(texts.map((_, index) => expect.stringMatching(`^p#${index} .*M${index}\\\\`)));
  });

  test("a permit without credential provider is refused, a forbid is not", () => {
    const { credentialProvider: _, ...spec } = policy("p", {
      cedar: "permit(principal, action, resource); forbid(principal, action, resource);",
    }).spec;
    const permit = { ...policy("p", {}), spec };
    expect(problemsOf(permit)).toEqual([
      {
        kind: "AccessPolicy",
        name: "p",
        path: ["spec", "credentialProvider"],
        message: expect.stringContaining("permits"),
      },
    ]);
    expect(
      problemsOf({ ...permit, spec: { ...spec, cedar: "forbid(principal, action, resource);" } }),
    ).toEqual([]);
  });

  test("that would overrun the library's stack is refused, and the library lives on", () => {
    const when = (condition: string): string => `permit(principal, action, resource) when { ${condition} };`;
    const texts = [
      when(`${"(".repeat(300)}true${")".repeat(300)}`),
      when(`${"{a:".repeat(300)}1${"}".repeat(300)} == {}`),
      when(`${"[".repeat(300)}${"]".repeat(300)} == []`),
      when(`${"if true then ".repeat(300)}true${" else true".repeat(300)}`),
      when(Array(300).fill(`context.method == "x"`).join(" && ")),
      when(Array(9000).fill("1").join("+") + " == 1"),
      when(`context${".a".repeat(700)}`),
      // A comment ends at a bare carriage return, a string at an unescaped quote: both must count as Cedar counts.
      when(`// \r${"(".repeat(300)}true${")".repeat(300)}`),
      when(`"\\"" == "" || ${"(".repeat(300)}true${")".repeat(300)}`),
    ];
    for (const text of texts)
      expect(cedarProblems(text).join()).toMatch(/nests deeper|tokens|chains too many/);
    expect(cedarProblems(when("true"))).toEqual([]);
  });

  test("at the limits still evaluates", () => {
    const nested = `${"({a: ".repeat(18)}true${"}.a)".repeat(18)}`;
    const chained = Array(80).fill(`context.method == "GET"`).join(" && ");
    const policies = compiled(
      policy("p", { cedar: `permit(principal, action, resource) when { ${nested} && ${chained} };` }),
    );
    expect(decide(policies, request).outcome).toBe("allow");
  });

  test("keeps integers beyond 2^53 exact, which Cedar's JSON form would round in JavaScript", () => {
    const cedar = `permit(principal, action, resource)
      when { context.method == "GET" && 9007199254740993 > 9007199254740992 };`;
    expect(decide(compiled(policy("p", { cedar })), request)).toMatchObject({ outcome: "allow" });
    expect(decide(compiled(policy("p", { cedar })), { ...request, method: "PUT" }).outcome).toBe("deny");
  });

  test("brackets in comments and strings do not count", () => {
    expect(
      cedarProblems(
        `// ${"(".repeat(100)}\npermit(principal, action, resource) when { context.path != "${"(".repeat(100)}" };`,
      ),
    ).toEqual([]);
  });
});

describe("slices", () => {
  test("keep a policy from agents and server workloads that it does not name, whatever its text says", () => {
    const policies = compiled(
      policy("open", { cedar: "permit(principal, action, resource);" }),
      policy("other", { agents: ["b"], serverWorkload: "t", allow: { everything: true } }),
    );
    expect(decide(policies, request).outcome).toBe("allow");
    expect(decide(policies, { ...request, agent: "b" }).outcome).toBe("deny");
    expect(decide(policies, { ...request, serverWorkload: "t" }).outcome).toBe("deny");
    expect(decide(policies, { ...request, agent: "__proto__", serverWorkload: "constructor" }).outcome).toBe(
      "deny",
    );
  });

  test("are shared by agents under the same policies", () => {
    const policies = compiled(policy("p", { agents: ["a", "b"], allow: { everything: true } }));
    expect(policies.sliceOf("a", "s")).toBe(policies.sliceOf("b", "s"));
  });

  test("that take more room together than there is are decided right, again and again", () => {
    const names = Array.from({ length: 200 }, (_, index) => `agent-${index}`);
    const more = Array.from({ length: 190 }, (_, index) => `/${index}/`.padEnd(490, "x"));
    const all = names.map((name) =>
      policy(name, { agents: [name], allow: { models: [name], paths: [request.path, ...more] } }),
    );
    for (let round = 0; round < 2; round++) {
      const policies = compiled(...all);
      for (const [index, agent] of names.entries()) {
        expect(decide(policies, { ...request, agent, model: agent }).outcome).toBe("allow");
        expect(decide(policies, { ...request, agent, model: `agent-${index + 1}` }).outcome).toBe("deny");
      }
    }
  });
});

describe("the digest", () => {
  const base = policy("p", { allow: { models: ["m"] } });

  test("does not depend on order of policies or keys", () => {
    const other = policy("q", { allow: { methods: ["GET"], models: ["m"] } });
    const reordered = policy("q", { allow: { models: ["m"], methods: ["GET"] } });
    expect(compiled(base, other).digest).toBe(compiled(reordered, base).digest);
    expect(compiled(base).digest).toMatch(/^[0-9a-f]{64}$/);
  });

  test.each([
    { allow: { models: ["n"] } },
    { allow: { modelPatterns: ["m"] } },
    { agents: ["b"] },
    { serverWorkload: "t" },
    { credentialProvider: "other" },
  ])("changes with %j", (change) => {
    expect(compiled(policy("p", { allow: { models: ["m"] }, ...change })).digest).not.toBe(
      compiled(base).digest,
    );
  });
});
