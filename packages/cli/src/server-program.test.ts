// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isOfItsSources, serverProgram } from "./server-program.ts";

describe("the program of the server", () => {
  let folder: string;
  let source: string;
  let built: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "postern-program-"));
    mkdirSync(join(folder, "packages/server/src"), { recursive: true });
    mkdirSync(join(folder, "packages/server/dist"));
    source = join(folder, "packages/server/src/main.ts");
    built = join(folder, "packages/server/dist/main.js");
    writeFileSync(source, "export {};");
    const { size, mtimeMs } = statSync(source);
    writeFileSync(built, `// ${JSON.stringify([["../src/main.ts", size, mtimeMs]])}\nexport {};`);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test("is what was built, as long as its sources are the same", () => {
    expect(serverProgram(source)).toBe(built);
  });

  test.each([
    ["changed", () => writeFileSync(source, "export { };")],
    ["touched", () => utimesSync(source, 1, 1)],
    ["removed", () => rmSync(source)],
  ])("is not what was built once a source is %s", (_, change) => {
    change();
    expect(isOfItsSources(built)).toBe(false);
    // There is nothing to build with beside it.
    expect(serverProgram(source)).toBe(source);
  });

  test.each(["", "export {};", "// []\nexport {};", "// {}\n", "// [[]]\n", "// [null]\n"])(
    "is not a file that names no sources: %j",
    (text) => {
      writeFileSync(built, text);
      expect(isOfItsSources(built)).toBe(false);
    },
  );
});
