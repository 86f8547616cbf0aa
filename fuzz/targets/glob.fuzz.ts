// SPDX-License-Identifier: Apache-2.0
/** Does a pattern of a policy match what a slow and obvious matcher says, in time that grows with the input only? */
import { globMatches } from "../../packages/server/src/policy/glob.ts";
import { demandEqual, type FuzzTarget } from "../target.ts";

/** By a table of all beginnings of both. */
function slowlyMatches(pattern: string, text: string): boolean {
  let row = Array.from({ length: text.length + 1 }, (_, at) => at === 0);
  for (const character of pattern.split("")) {
    const next = Array.from({ length: text.length + 1 }, () => false);
    for (let at = 0; at <= text.length; at++)
      next[at] =
        character === "*"
          ? row[at]! || (at > 0 && next[at - 1]!)
          : at > 0 && row[at - 1]! && text[at - 1] === character;
    row = next;
  }
  return row[text.length]!;
}

/** Pattern and text, a line each. */
function check(input: Buffer): void {
  const [pattern = "", ...rest] = input.toString("latin1").split("\n");
  const text = rest.join("\n");
  const found = globMatches(pattern, text);
  if (pattern.length * text.length < 200_000) demandEqual(found, slowlyMatches(pattern, text), "the match");
}

const target: FuzzTarget = {
  parsers: ["packages/server/src/policy/glob.ts"],
  property: "A pattern matches exactly what a table of all beginnings says it matches.",
  words: ["*", "/v1/*", "gpt-*", "**", "*a*a*", "\n"],
  make: (choose) =>
    `${choose.list(10, () => choose.pick(["*", "a", "b", "/", "ab"])).join("")}\n${choose.list(14, () => choose.pick(["a", "b", "/", "ab", "*"])).join("")}`,
  check,
};
export default target;
