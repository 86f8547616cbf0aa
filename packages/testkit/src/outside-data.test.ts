// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { outsideData } from "./outside-data.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-data-"));
  vi.stubEnv("POSTERN_TEST_DATA", folder);
  vi.stubEnv("POSTERN_REQUIRE_TEST_DATA", "");
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

describe("data that is missing", () => {
  it.each(["1", "true", "yes", "0"])("fails whoever needs it where it is required, by %j", (required) => {
    vi.stubEnv("POSTERN_REQUIRE_TEST_DATA", required);
    expect(() => outsideData("spiffe", "https://example.org/data")).toThrow("https://example.org/data");
  });

  it("is said aloud where it is not required", () => {
    const said = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    expect(outsideData("spiffe", "https://example.org/data")).toBeUndefined();
    expect(said.mock.calls.join()).toContain("tests are skipped: no test data at");
  });
});

it("data that is there is found where POSTERN_TEST_DATA says, required or not", () => {
  vi.stubEnv("POSTERN_REQUIRE_TEST_DATA", "1");
  mkdirSync(join(folder, "spiffe"));
  expect(outsideData("spiffe", "https://example.org/data")).toBe(join(folder, "spiffe"));
});
