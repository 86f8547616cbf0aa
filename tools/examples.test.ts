// SPDX-License-Identifier: Apache-2.0
/** Does the server take every example as its first lines say, and does it do what it says? */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type CompiledPolicies, compilePolicies } from "../packages/server/src/policy/compile.ts";
import { decide } from "../packages/server/src/policy/decide.ts";
import { loadProfiles } from "../packages/server/src/profiles/profile.ts";
import { checkResources } from "../packages/server/src/resources/check.ts";
import { parseResources } from "../packages/server/src/resources/parse.ts";
import { placesOf } from "../packages/server/src/resources/places.ts";
import { ResourceSet } from "../packages/server/src/resources/resource-set.ts";
import { profileFacts } from "../packages/server/src/rehearsal/profile-facts.ts";
import { ROOT } from "./markdown.ts";

const examples = readdirSync(join(ROOT, "examples")).filter((name) => name.endsWith(".yaml"));
const read = (name: string): string => readFileSync(join(ROOT, "examples", name), "utf8");
const profiles = new Map([...loadProfiles()].map(([name, profile]) => [name, profileFacts(profile)]));

/** Everything against the files, applied together with these secrets set. */
function problemsOf(names: readonly string[], secrets: Iterable<string>): unknown[] {
  const parsed = parseResources(names.map((name) => ({ name, text: read(name) })));
  if (!parsed.ok) return [...parsed.reason];
  const set = new ResourceSet(parsed.value.map(({ resource }) => resource));
  const places = checkResources(set, { profiles, secretNames: new Set(secrets) }, placesOf(parsed.value));
  const compiled = compilePolicies(set);
  return [...places, ...(compiled.ok ? [] : compiled.reason)];
}

function policiesOf(names: readonly string[]): CompiledPolicies {
  const parsed = parseResources(names.map((name) => ({ name, text: read(name) })));
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.reason));
  const compiled = compilePolicies(new ResourceSet(parsed.value.map(({ resource }) => resource)));
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.reason));
  return compiled.value;
}

/** The files of the example's own `Apply with:` line. */
const filesOf = (name: string): string[] =>
  [...(/^# Apply with: (.*)$/m.exec(read(name))?.[1] ?? "").matchAll(/-f examples\/(\S+)/g)].map(
    ([, file]) => file!,
  );

const secretsOf = (names: readonly string[]): string[] =>
  names.flatMap((name) =>
    [...read(name).matchAll(/^# First: +postern secret set (\S+)$/gm)].map(([, secret]) => secret!),
  );

describe("the examples", () => {
  it("are there", () => {
    expect(examples.length).toBeGreaterThan(5);
    expect(examples).toContain("local.yaml");
  });

  it.each(examples)("%s is taken as its first lines say", (name) => {
    const files = filesOf(name);
    expect(files).toContain(name);
    expect(problemsOf(files, secretsOf(files))).toEqual([]);
  });

  it.each(examples.filter((name) => !["github-actions.yaml", "local.yaml", "raw-cedar.yaml"].includes(name)))(
    "%s needs its secret first",
    (name) => {
      expect(problemsOf(filesOf(name), [])).toHaveLength(1);
    },
  );

  it("can be applied all together", () => {
    expect(problemsOf(examples, secretsOf(examples))).toEqual([]);
  });

  it("raw-cedar.yaml forbids a part of what openai.yaml allows, and allows nothing more", () => {
    const request = {
      agent: "my-agent",
      serverWorkload: "openai",
      operation: "responses",
      method: "POST",
      path: "/v1/responses",
    };
    const outcomes = (names: readonly string[]): string[] =>
      ["gpt-5.4", "gpt-5-mini", "gpt-4"].map(
        (model) => decide(policiesOf(names), { ...request, model }).outcome,
      );
    expect(outcomes(["local.yaml", "openai.yaml"])).toEqual(["allow", "allow", "deny"]);
    expect(outcomes(filesOf("raw-cedar.yaml"))).toEqual(["deny", "allow", "deny"]);
  });

  it("github-git.yaml lets the agent fetch from the organisation and neither push nor fetch elsewhere", () => {
    const policies = policiesOf(filesOf("github-git.yaml"));
    const outcome = (operation: string, path: string) =>
      decide(policies, { agent: "my-agent", serverWorkload: "github-git", operation, method: "POST", path })
        .outcome;
    expect(outcome("fetch", "/my-org/app.git/git-upload-pack")).toBe("allow");
    expect(outcome("push", "/my-org/app.git/git-receive-pack")).toBe("deny");
    expect(outcome("fetch", "/other/app.git/git-upload-pack")).toBe("deny");
  });
});
