// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { writeWhole } from "./write-whole.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-whole-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("a file that is written whole", () => {
  it("is not there under its name when writing ends before its end, and is made anew", () => {
    const file = join(folder, "ca.pem");
    // Refused by Node when the draft is already open: where a kill would leave it too.
    expect(() => writeWhole(file, {} as string, 0o600)).toThrow();
    expect(readdirSync(folder)).toEqual(["ca.pem.new"]);
    writeWhole(file, "whole", 0o600);
    expect(readdirSync(folder)).toEqual(["ca.pem"]);
    expect(readFileSync(file, "utf8")).toBe("whole");
  });

  it("has the mode asked for, also where a draft with another one lies there", () => {
    const file = join(folder, "server.id");
    writeFileSync(`${file}.new`, "left", { mode: 0o666 });
    writeWhole(file, "id", 0o600);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(["server.id"]);
  });
});
