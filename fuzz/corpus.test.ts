// SPDX-License-Identifier: Apache-2.0
/** The saved inputs of every fuzzer, each once: what was found before stays found. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { removeScratchFolders } from "./scratch-folder.ts";
import type { FuzzTarget } from "./target.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const names = readdirSync(`${here}targets`).map((file) => file.replace(/\.fuzz\.ts$/, ""));
const readme = readFileSync(`${here}README.md`, "utf8");

const load = async (name: string): Promise<FuzzTarget> =>
  ((await import(`./targets/${name}.fuzz.ts`)) as { default: FuzzTarget }).default;

afterAll(removeScratchFolders);

describe.each(names)("%s", (name) => {
  it.each(readdirSync(`${here}corpus/${name}`))("holds for %s", async (file) => {
    const { check } = await load(name);
    await expect(
      Promise.resolve(check(readFileSync(`${here}corpus/${name}/${file}`))),
    ).resolves.toBeUndefined();
  });

  it("is in the table, with the files that it tries", async () => {
    const row = readme.split("\n").find((line) => line.startsWith(`| \`${name}\``)) ?? "";
    const { parsers, property } = await load(name);
    for (const parser of parsers) expect(row).toContain(`](../${parser})`);
    expect(property).toMatch(/^[A-Z].*\.$/s);
  });
});

it("has no saved inputs of a fuzzer that is gone", () => {
  expect(readdirSync(`${here}corpus`).toSorted()).toEqual(names.toSorted());
});
