// SPDX-License-Identifier: Apache-2.0
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { belongsToSystem, systemProgram } from "./system-program.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-program-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function plant(name: string): string {
  const path = join(folder, name);
  writeFileSync(path, "#!/bin/sh\n");
  chmodSync(path, 0o755);
  return path;
}

test("a program planted at the front of PATH is not taken for the system's", () => {
  plant("sh");
  expect(systemProgram("sh", `${folder}:/bin`)).toMatch(/^\/(usr\/)?bin\/sh$/);
});

test("a program that only a folder open to others holds is not taken at all", () => {
  plant("postern-test-program");
  chmodSync(folder, 0o777);
  expect(systemProgram("postern-test-program", folder)).toBeUndefined();
});

test("a program that others may write is not taken", () => {
  const path = plant("postern-test-program");
  chmodSync(path, 0o775);
  expect(belongsToSystem(path)).toBe(false);
});

test("relative folders of PATH are left out", () => {
  expect(systemProgram("sh", ".:bin", [])).toBeUndefined();
});

test("elsewhere, what belongs to root all the way up is found", () => {
  expect(systemProgram("sh", "/usr/bin:/bin", [])).toMatch(/^\/usr\/bin\//);
});
