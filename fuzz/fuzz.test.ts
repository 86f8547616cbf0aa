// SPDX-License-Identifier: Apache-2.0
/** Does the runner find what is there to be found, and say so? With defects that were planted. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";

const here = fileURLToPath(new URL(".", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "postern-fuzz-test-"));
afterAll(() => rmSync(folder, { recursive: true }));
for (const name of ["throws", "hangs", "waits", "grows", "slow"]) {
  mkdirSync(join(folder, "corpus", name), { recursive: true });
  writeFileSync(join(folder, "corpus", name, "harmless"), "hello <a href> aaaa");
}

function fuzz(...words: string[]) {
  const findings = mkdtempSync(join(folder, "findings-"));
  const places = [`--targets=${here}planted`, `--corpus=${folder}/corpus`, `--findings=${findings}`];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(here, "fuzz.ts"), ...words, ...places],
    {
      encoding: "utf8",
    },
  );
  const found = readdirSync(findings).map((file) => join(findings, file));
  return { status, stdout, stderr, found };
}

describe("a planted defect", { timeout: 120_000 }, () => {
  it("is found from a harmless input, made small, saved, and tried again by the command that was given", () => {
    const { status, stdout, stderr, found } = fuzz("throws", "--seconds=60", "--seed=1");
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      name: "throws",
      seed: 1,
      saved: 1,
      finding: "Error: the planted defect was reached",
    });
    expect(found).toHaveLength(1);
    expect(readFileSync(found[0]!, "latin1")).toMatch(/^<!\d$/);
    expect(stderr).toMatch(/again: npm run fuzz -- throws --replay=\S+/);
    const again = fuzz("throws", `--replay=${found[0]}`);
    expect(again.status).toBe(1);
    expect(again.stderr).toContain("the planted defect was reached");
    expect(JSON.parse(again.stdout)).toMatchObject({ runs: 1 });
  });

  it.each([
    ["hangs", 2, /hang: no end after 2 seconds/],
    ["waits", 2, /hang: the check never ended/],
    ["grows", 2, /ERR_WORKER_OUT_OF_MEMORY|hang: no end|memory/],
    ["slow", 60, /slow: \d+ ms for \d+ bytes/],
  ])("is found where it %s", (name, patience, words) => {
    const { status, stderr, found } = fuzz(name, "--seconds=60", "--seed=3", `--patience=${patience}`);
    expect(status).toBe(1);
    expect(stderr).toMatch(words);
    expect(found).toHaveLength(1);
  });

  it("that is not reached in so many runs leaves the exit code at 0", () => {
    const { status, stdout, found } = fuzz("throws", "--runs=1");
    expect([status, found]).toEqual([0, []]);
    expect(JSON.parse(stdout)).toMatchObject({ runs: 1, saved: 1 });
  });
});

describe("wrong words", () => {
  it.each([[], ["nothing"], ["--all", "throws"], ["throws", "--seconds=soon"], ["../fuzz"]])(
    "are refused with exit code 2: %j %j",
    (...words) => {
      const { status, stderr } = fuzz(...words);
      expect(status).toBe(2);
      expect(stderr).toContain("fuzz: ");
    },
  );
});
