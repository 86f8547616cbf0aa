// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseResources } from "./parse.ts";

const parse = (...texts: string[]) =>
  parseResources(texts.map((text, index) => ({ name: `f${index}.yaml`, text })));

function problems(...texts: string[]): string[] {
  const result = parse(...texts);
  return result.ok
    ? []
    : result.reason.map(
        ({ file, line, column, path, message }) => `${file}:${line}:${column} ${path}: ${message}`,
      );
}

const agent = (name: string, rest = ""): string =>
  `kind: Agent\nmetadata: { name: ${name} }\nspec:\n  trustProvider: local\n  selectors: ["process:uid=1"]\n${rest}`;

describe("refused in YAML is", () => {
  test.each([
    ["an anchor", agent("a").replace('["', '&x ["'), "5:17 : anchors are not read"],
    ["an alias", agent("a", "  owner: *x\n"), "6:10 : aliases are not read"],
    ["a bomb of aliases", `a: &a [x]\nb: [*a, *a]\n`, "aliases are not read"],
    ["nesting without end", "s: ".repeat(300_000), "f0.yaml:1:"],
    ["brackets without end", `a: ${"[".repeat(5000)}`, "nests too deeply"],
    ["lists without end", `${"- ".repeat(5000)}a`, "nests too deeply"],
    ["a tag", agent("!!str a"), "2:25 : tags are not read"],
    ["a custom tag", agent("a", "  owner: !env HOME\n"), "not read"],
    ["a duplicate key", agent("a", "  owner: x\n  owner: y\n"), "7:3 : duplicate key `owner`"],
    [
      "a duplicate key in another spelling",
      agent("a", `  owner: x\n  "owner": y\n`),
      "7:3 : duplicate key `owner`",
    ],
    ["a key that is no text", agent("a", "  1: x\n"), "6:3 : a key must be text"],
    ["a key that is a list", agent("a", "  ? [x]\n  : y\n"), "a key must be text"],
    ["another YAML version", `%YAML 1.1\n---\n${agent("a")}`, "YAML 1.1 is not read"],
    ["a merge key", agent("a", "  <<: { owner: x }\n"), "unknown key `<<`"],
    ["a prototype", agent("a", "  __proto__: { owner: x }\n"), "6:3 spec.__proto__: unknown key `__proto__`"],
    ["deep nesting", "[".repeat(100_000), "nests too deeply"],
    ["a large file", "#".repeat(1024 * 1024 + 1), "1:1 : is larger than 1 MiB"],
    ["a broken map", "kind: [", "f0.yaml:1:"],
  ])("%s", (_, text, expected) => {
    expect(problems(text).join("\n")).toContain(expected);
  });

  test("a thousand errors, by some of them", () => {
    expect(problems(`a: "${"\\u".repeat(100_000)}"`).length).toBeLessThanOrEqual(101);
  });
});

describe("refused by the schema is", () => {
  test.each([
    ["an unknown kind", "kind: Agnt\n", "1:7 kind: unknown kind `Agnt`; did you mean `Agent`?"],
    ["a missing kind", "metadata: {}\n", "missing `kind`; one of `FederatedTrustDomain`, `TrustProvider`"],
    ["a kind like nothing", "kind: Xyzzyxyzzy\n", "`TrustProvider`"],
    ["no map", "- a\n", "expected a map, found a list"],
    ["an unknown key", agent("a", "  selektors: []\n"), "6:3 spec.selektors: unknown key `selektors`"],
    ["an unknown key like a free one", agent("a", "  onwer: x\n"), "did you mean `owner`?"],
    ["a missing key", agent("a").replace(/ {2}selectors.*\n/, ""), "3:1 spec: missing `selectors`"],
    ["a wrong type", agent("a", "  owner: 7\n"), "6:10 spec.owner: expected text, found a number"],
    [
      "an empty list",
      agent("a").replace(`["process:uid=1"]`, "[]"),
      "5:3 spec.selectors: needs at least 1 entries",
    ],
    [
      "a bad entry",
      agent("a").replace(`"process:uid=1"`, `"process:uid=1", x`),
      "5:32 spec.selectors[1]: write kind:",
    ],
    ["a bad name", agent("A"), "use lower-case letters"],
  ])("%s", (_, text, expected) => {
    expect(problems(text).join("\n")).toContain(expected);
  });

  const workload = (spec: string): string =>
    `kind: ServerWorkload\nmetadata: { name: w }\nspec: { profile: http, ${spec} }\n`;

  test.each([
    ["injection: { kind: beare }", "unknown kind `beare`; did you mean `bearer`?"],
    ["injection: { kind: header, name: x, valeu: x }", "unknown key `valeu`; did you mean `value`?"],
    ["injection: { kind: bearer, name: x }", "unknown key `name`; nothing more may stand here"],
    ["operations: [{ name: x, method: GET, paht: / }]", "unknown key `paht`; did you mean `path`?"],
    ["connectTo: { address: localhost, port: 1 }", "invalid IPv4 address or invalid IPv6 address"],
    ["port: 70000", "needs at most 65535"],
    [
      "hosts: [A.example]",
      "f0.yaml:3:32 spec.hosts[0]: is not in lower case; write one form, such as `a.example`",
    ],
    [
      "hosts: [ok.example, 7.example:8443]",
      "3:44 spec.hosts[1]: holds a port; write `port: 8443` beside hosts",
    ],
    ["hosts: [7]", "spec.hosts[0]: expected text, found a number"],
  ])("%s", (spec, expected) => {
    expect(problems(workload(spec)).join("\n")).toContain(expected);
  });

  test("everything wrong, at once, over all documents and files", () => {
    expect(problems(`${agent("A")}---\n${agent("b", "  x: 1\n  y: 2\n")}`, "kind: Agnt")).toHaveLength(4);
  });
});

test("a second resource of the same kind and name is refused at its place, naming the first", () => {
  expect(problems(agent("a"), `${agent("b")}---\n${agent("a")}`)).toEqual([
    "f1.yaml:8:19 metadata.name: Agent `a` is already at f0.yaml:2; keep one of them",
  ]);
});

test("several documents are read, with defaults filled in, empty ones passed over, and places kept", () => {
  const text = `---\n${agent("a")}---\n# nothing\n---\nkind: ServerWorkload\nmetadata: { name: w }\nspec: { profile: openai }\n`;
  const result = parse(text);
  if (!result.ok) throw new Error(JSON.stringify(result.reason));
  const [first, second] = result.value;
  expect(result.value).toHaveLength(2);
  expect(second?.resource.spec).toEqual({ profile: "openai", port: 443 });
  expect(first?.place(["spec", "selectors", 0])).toEqual({
    file: "f0.yaml",
    line: 6,
    column: 15,
    path: "spec.selectors[0]",
  });
  expect(first?.place(["spec", "selectors"])).toMatchObject({ line: 6, column: 3 });
  expect(first?.place(["spec", "absent", "deeper"])).toMatchObject({
    line: 4,
    column: 1,
    path: "spec.absent.deeper",
  });
});

test("JSON is read as it is YAML", () => {
  const json = JSON.stringify({
    kind: "TrustProvider",
    metadata: { name: "local" },
    spec: { kind: "process" },
  });
  expect(parse(json)).toMatchObject({ ok: true });
});

test("no input makes the parser throw", () => {
  const seed = readFileSync(new URL("parse.test.ts", import.meta.url), "utf8").slice(0, 2000);
  const piece = fc.oneof(
    fc.constantFrom(
      "kind: Agent\n",
      "---\n",
      "&a ",
      "*a",
      "? ",
      "- ",
      "{",
      "}",
      "[",
      "]",
      "!!x ",
      "%YAML 1.2\n",
      "spec:\n  ",
      ": ",
      "\t",
      "|\n",
    ),
    fc.string({ unit: "binary", maxLength: 5 }),
    fc.nat(seed.length - 20).map((start) => seed.slice(start, start + 20)),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 15 }), (pieces) => {
      const result = parse(pieces.join(""));
      if (!result.ok)
        for (const { line, column } of result.reason) expect(Math.min(line, column)).toBeGreaterThan(0);
    }),
    { numRuns: 2000 },
  );
});
