// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { defectOf, detectIsolation } from "./detect-isolation.ts";

const SOUND = `Pid:\t2
CapInh:\t0000000000000000
CapPrm:\t0000000000000000
CapEff:\t0000000000000000
CapBnd:\t0000000000000000
CapAmb:\t0000000000000000
NoNewPrivs:\t1
`;

describe("detectIsolation", () => {
  test("accepts a process without any privilege in a fresh process namespace", () => {
    expect(defectOf(SOUND)).toBeUndefined();
  });

  test.each([
    [SOUND.replace("CapBnd:\t0000000000000000", "CapBnd:\t000001ffffffffff"), "CapBnd is not empty inside"],
    [SOUND.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"), "new privileges stay possible inside"],
    [SOUND.replace("Pid:\t2", "Pid:\t41234"), "the process namespace is not a fresh one"],
    ["", "new privileges stay possible inside"],
  ])("names what is wrong with a sandbox that does not hold", (status, defect) => {
    expect(defectOf(status)).toBe(defect);
  });

  test("this very process would not pass as sandboxed", () => {
    expect(defectOf(readFileSync("/proc/self/status", "latin1"))).toBeDefined();
  });

  test("finds a working sandbox, or says why there is none and what to do", async () => {
    const report = await detectIsolation();
    const tried = { bubblewrap: 0, "util-linux": 1, none: 2 };
    expect(report.failed).toHaveLength(tried[report.mode]);
    expect(report.nextStep !== undefined).toBe(report.mode === "none");
  });

  test("does not depend on the user's PATH, where an agent may have planted programs", async () => {
    const path = process.env.PATH;
    const before = await detectIsolation();
    process.env.PATH = "/nonexistent";
    try {
      expect(await detectIsolation()).toEqual(before);
    } finally {
      process.env.PATH = path;
    }
  });
});
