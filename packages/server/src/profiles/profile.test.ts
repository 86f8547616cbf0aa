// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { loadProfiles, type Profile, type ProfileOperation } from "./profile.ts";

const profiles = loadProfiles();
const all = [...profiles.values()].map((profile): [string, Profile] => [profile.name, profile]);

/** A path that the template is meant for. */
const example = ({ path }: ProfileOperation): string => path.replaceAll(/\{[a-zA-Z]+\}/g, "some-name.1");

/** As the gateway reads a template: `{name}` is one part of a segment. */
const matches = ({ path }: ProfileOperation, candidate: string): boolean =>
  new RegExp(`^${path.replaceAll(/[.*+?^$()|[\]\\]/g, "\\$&").replaceAll(/\{[a-zA-Z]+\}/g, "[^/:]+")}$`).test(
    candidate,
  );

describe("every profile", () => {
  it("is there under its file's name", () => {
    expect([...profiles.keys()]).toEqual(["anthropic", "gemini", "http", "openai"]);
  });

  it.each(all)("%s: says the same operation for each of its own requests", (_name, { operations }) => {
    for (const operation of operations) {
      const first = operations.find(
        (other) => other.method === operation.method && matches(other, example(operation)),
      );
      expect(first?.name).toBe(operation.name);
      expect(first?.model).toEqual(operation.model);
    }
  });

  it.each(all)(
    "%s: has no two operations that place the model differently for one request",
    (_name, { operations }) => {
      for (const one of operations)
        for (const other of operations) {
          if (one === other || one.method !== other.method || !matches(other, example(one))) continue;
          expect([one.name, one.model]).toEqual([other.name, other.model]);
        }
    },
  );

  it.each(all)("%s: names a model's part of the path that is there", (_name, { operations }) => {
    const wanting = operations.filter(
      ({ path, model }) => model !== undefined && "path" in model && !path.includes(`{${model.path}}`),
    );
    expect(wanting).toEqual([]);
  });

  it.each(all)("%s: has operations and aliases on canonical paths", (_name, { operations, aliases }) => {
    for (const place of [
      ...operations.map((operation) => operation.path),
      ...aliases.flatMap(({ from, to }) => [from, to]),
    ])
      expect(place).toMatch(/^(\/[A-Za-z0-9._:{}-]+)+$/);
    for (const { from, to } of aliases) {
      expect(operations.some((operation) => matches(operation, from))).toBe(false);
      expect(operations.some((operation) => matches(operation, to))).toBe(true);
    }
  });

  it.each(all)("%s: marks its placeholder once, and hides the real variables", (_name, profile) => {
    expect(profile.placeholder.split("{marker}")).toHaveLength(2);
    for (const [name, value] of Object.entries(profile.environment))
      if (value.includes("{placeholder}")) expect(profile.secretVariables).toContain(name);
  });

  it.each(all)("%s: has lower-case carriers, as they are compared", (_name, { carriers }) => {
    for (const name of [...carriers.headers, ...carriers.query]) expect(name).toBe(name.toLowerCase());
  });

  it.each(all.filter(([, { injections }]) => injections.length > 0))(
    "%s: always has an injection that applies",
    (_name, { injections }) => {
      const last = injections.at(-1)!;
      expect([last.whenPathStartsWith, last.whenSecretStartsWith]).toEqual([undefined, undefined]);
      for (const { append } of injections)
        for (const name of Object.keys(append)) expect(name).toBe(name.toLowerCase());
    },
  );
});

describe("a profile that is wrong", () => {
  it.each([
    ["an unknown key", "name: x\nhots: []\n"],
    ["an unknown injection", "name: x\ninjections: [{ kind: telepathy }]\n"],
    ["no YAML mapping", "- x\n"],
  ])("is refused with the file's name: %s", (_name, text) => {
    const folder = mkdtempSync(join(tmpdir(), "postern-profiles-"));
    try {
      writeFileSync(join(folder, "wrong.yaml"), text);
      expect(() => loadProfiles(pathToFileURL(`${folder}/`))).toThrow(/wrong\.yaml/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
