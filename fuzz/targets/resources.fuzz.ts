// SPDX-License-Identifier: Apache-2.0
/** Is an operator's file read as what stands in it, or refused with a place in it? */
import { parseResources } from "../../packages/server/src/resources/parse.ts";
import { checkResources } from "../../packages/server/src/resources/check.ts";
import { placesOf } from "../../packages/server/src/resources/places.ts";
import { ResourceSet } from "../../packages/server/src/resources/resource-set.ts";
import { readYaml } from "../../packages/server/src/resources/yaml-document.ts";
import { loadProfiles } from "../../packages/server/src/profiles/profile.ts";
import { profileFacts } from "../../packages/server/src/rehearsal/profile-facts.ts";
import type { Choices } from "../choices.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const profiles = new Map([...loadProfiles()].map(([name, profile]) => [name, profileFacts(profile)]));

function check(input: Buffer): void {
  const text = input.toString("utf8");
  checkDocuments(text);
  const parsed = parseResources([{ name: "f.yaml", text }]);
  if (!parsed.ok) return checkPlaces(parsed.reason, text);
  const resources = parsed.value.map(({ resource }) => resource);
  for (const { resource, place } of parsed.value)
    checkPlaces([{ ...place(["metadata", "name"]), message: "x" }], text, resource);
  const printed = resources.map((resource) => JSON.stringify(resource, null, 1)).join("\n---\n");
  const again = parseResources([{ name: "again.yaml", text: printed }]);
  demand(again.ok, `what was printed is refused: ${again.ok ? "" : again.reason[0]?.message}`);
  demandEqual(
    again.value.map(({ resource }) => resource),
    resources,
    "printed and read again",
  );
  const set = new ResourceSet(resources);
  checkPlaces(checkResources(set, { profiles }, placesOf(parsed.value)), text);
}

/** JSON is YAML (YAML 1.2 §1.3): read as JSON.parse reads it, as far as both take it. */
function checkDocuments(text: string): void {
  const { documents, problems } = readYaml({ name: "f.yaml", text });
  checkPlaces(problems, text);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return;
  }
  const [only, ...others] = documents;
  if (problems.length > 0 || only === undefined) return;
  demandEqual(others.length, 0, "more than one document in JSON");
  demandEqual(only.value, json, "JSON read as YAML");
}

function checkPlaces(
  places: readonly { readonly line: number; readonly column: number; readonly message: string }[],
  text: string,
  _of?: unknown,
): void {
  const lines = text.split("\n").length;
  for (const { line, column, message } of places) {
    demand(line >= 1 && line <= lines && column >= 1, `line ${line} of ${lines}, column ${column}`);
    demand(message !== "" && message.length < text.length + 2000, "a message longer than the file");
  }
}

const KEYS = [
  ..."kind metadata name spec profile hosts port injection operations connectTo allowedNetworks caCertificates agents".split(
    " ",
  ),
  ..."serverWorkload credentialProvider allow models modelPatterns methods paths pathPatterns everything cedar secret".split(
    " ",
  ),
  ..."serverWorkloads trustProvider selectors owner purpose expiresAt description method path address __proto__ constructor <<".split(
    " ",
  ),
];
const VALUES = [
  ..."Agent ServerWorkload AccessPolicy CredentialProvider TrustProvider openai http process vault bearer true null ~ 1 0x10 1e3 .inf".split(
    " ",
  ),
  ...[
    "[]",
    "{}",
    "''",
    '"a\\u0000"',
    "process:uid=1000",
    "/v1/*",
    "&a b",
    "*a",
    "!!binary aGk=",
    "|\n  x\n",
    ">-\n  y",
    "2026-01-01T00:00:00Z",
  ],
  ...[
    "127.0.0.0/8",
    "::/0",
    "a.example",
    "9007199254740993",
    "-----BEGIN CERTIFICATE-----",
    "\u{1f600}",
    "\ud800",
    "# c",
    "? x",
    "permit(principal,action,resource);",
  ],
];
const AGENT =
  "kind: Agent\nmetadata: { name: a }\nspec: { trustProvider: t, selectors: [process:uid=1000] }\n";
const WORKLOAD = "kind: ServerWorkload\nmetadata: { name: s }\nspec:\n  profile: openai\n";
const POLICY =
  "kind: AccessPolicy\nmetadata: { name: p }\nspec: { agents: [a], serverWorkload: s, credentialProvider: c, allow: { everything: true } }\n";

function make(choose: Choices): Buffer {
  const value = (indent: number): string => {
    if (indent > 6 || !choose.once(3)) return ` ${choose.pick(VALUES)}\n`;
    return `\n${map(indent + 2)}`;
  };
  const map = (indent: number): string =>
    choose
      .list(
        5,
        () => `${" ".repeat(indent)}${choose.once(8) ? "- " : ""}${choose.pick(KEYS)}:${value(indent)}`,
      )
      .join("");
  const document = (): string =>
    choose.pick([AGENT, WORKLOAD, POLICY, ""]) + (choose.once(2) ? map(choose.pick([0, 2])) : "");
  return Buffer.from(choose.list(4, document).join(choose.pick(["---\n", "\n---\n", "...\n", "--- # x\n"])));
}

const target: FuzzTarget = {
  parsers: [
    "packages/server/src/resources/yaml-document.ts",
    "packages/server/src/resources/parse.ts",
    "packages/server/src/resources/schema-issues.ts",
    "packages/server/src/resources/check.ts",
    "packages/contract/src/resources.ts",
  ],
  property:
    "Nothing is thrown; what is accepted reads the same after it was printed; JSON means what JSON.parse says; every problem has a place in the file.",
  words: [
    ...KEYS.map((key) => `${key}: `),
    ...VALUES,
    "---\n",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "? ",
    ": ",
    "%YAML 1.1\n",
    "\t",
    AGENT,
    POLICY,
  ].map((word) => Buffer.from(word).toString("latin1")),
  make,
  largest: 65_536,
  slowest: 1500,
  check,
};
export default target;
