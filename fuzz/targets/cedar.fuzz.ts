// SPDX-License-Identifier: Apache-2.0
/** Can no text of a policy break the policy engine, whose traps would deny everybody everything? */
import { decide } from "../../packages/server/src/policy/decide.ts";
import { compiled, policy } from "../../packages/server/src/policy/policy-fixtures.ts";
import { compilePolicies } from "../../packages/server/src/policy/compile.ts";
import { ResourceSet } from "../../packages/server/src/resources/resource-set.ts";
import type { Choices } from "../choices.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const request = {
  agent: "a",
  serverWorkload: "s",
  method: "POST",
  path: "/v1/x",
  model: "m",
  operation: "o",
};
let number = 0;

function check(input: Buffer): void {
  const cedar = input.toString("utf8");
  const result = compilePolicies(new ResourceSet([policy("p", { cedar })]));
  if (result.ok) {
    const decision = decide(result.value, request);
    demand(decision.outcome === "allow" || decision.reasons.length === 1, "a denial without its reason");
    const permits = result.value.policies.some(({ effect }) => effect === "permit");
    demand(decision.outcome === "deny" || permits, "allowed although nothing permits");
    // For nobody else, whatever the text says.
    demandEqual(decide(result.value, { ...request, agent: "b" }).outcome, "deny", "another agent");
    demandEqual(
      decide(result.value, { ...request, serverWorkload: "t" }).outcome,
      "deny",
      "another server workload",
    );
  } else for (const { message } of result.reason) demand(message !== "", "a problem without words");
  // The engine still works, on a set that it has not seen.
  const sound = compiled(
    policy("q", { allow: { models: ["m"], paths: [`/v1/${number++ % 600}`, "/v1/x"] } }),
  );
  demandEqual(decide(sound, request).outcome, "allow", "a sound policy afterwards");
}

const WORDS = [
  ..."permit forbid ( ) principal action resource ; when unless { } context.path context.model context has like == != && || ! - + * < <= in is".split(
    " ",
  ),
  ...[
    'Postern::Agent::"a"',
    'Postern::ServerWorkload::"s"',
    'Postern::Action::"call"',
    '"/v1/*"',
    '"\\u{0}"',
    "[",
    "]",
    ",",
    "1",
    "9223372036854775807",
  ],
  ...[
    "if true then ",
    " else ",
    "true",
    "false",
    ".contains(",
    ".getTag(",
    'ip("1.2.3.4")',
    'decimal("1.0")',
    "?principal",
    "// x\n",
    '@id("x")',
    "(",
    ")",
    ".",
    "\\",
  ],
];
const HEAD = "permit(principal, action, resource)";

function expression(choose: Choices, depth = 0): string {
  const next = (): string => expression(choose, depth + 1);
  if (depth > 5 || choose.once(3))
    return choose.pick([
      'context.path like "/v1/*"',
      "context has model",
      "true",
      '"a" == "b"',
      "1 < 2",
      '["a"].contains(context.method)',
      "context.model",
      'context.conditions.contains("x")',
      "context.conditions",
    ]);
  return choose.pick([
    () => `(${next()})`,
    () => `${next()} && ${next()}`,
    () => `${next()} || ${next()}`,
    () => `!${next()}`,
    () => `if ${next()} then ${next()} else ${next()}`,
    () => `{x: ${next()}}.x`,
    () => `[${next()}, ${next()}]`,
  ])();
}

const target: FuzzTarget = {
  parsers: ["packages/server/src/policy/cedar-bounds.ts", "packages/server/src/policy/compile-cedar.ts"],
  property:
    "Nothing is thrown; no text reaches another agent or server workload; after each text sound policies are still decided.",
  words: [...WORDS, HEAD, `${HEAD} when { `, " };"],
  make: (choose) =>
    choose.once(3)
      ? choose.list(30, () => choose.pick(WORDS)).join(choose.pick(["", " "]))
      : choose
          .list(
            3,
            () => `${choose.pick([HEAD, HEAD.replace("permit", "forbid")])} when { ${expression(choose)} };`,
          )
          .join("\n"),
  largest: 50_000,
  slowest: 3000,
  check,
};
export default target;
