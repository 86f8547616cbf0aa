// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { PatternMatcher } from "../guard/pattern-matcher.ts";
import { readinessOf } from "../telemetry/readiness.ts";
import { type ProbedParts, readinessProbes } from "./readiness-probes.ts";

const well: ProbedParts = {
  audit: { failure: () => undefined },
  vault: { allSecrets: async () => [] },
  knownSecrets: { matcher: async () => PatternMatcher.of([]) },
  readDatabase: async () => ({}),
};
const broken = (): Promise<never> => Promise.reject(new Error("canary at postgres://u:p@h"));

const failedWith = async (more: Partial<ProbedParts>): Promise<string[]> => {
  const { ready, checks } = await readinessOf(readinessProbes({ ...well, ...more }))();
  const failed = checks.filter(({ ok }) => !ok);
  expect(ready).toBe(failed.length === 0);
  expect(JSON.stringify(failed)).not.toMatch(/canary|postgres/);
  expect(failed.every(({ reason = "" }) => reason.length > 10)).toBe(true);
  return failed.map(({ name }) => name);
};

describe("a server is not ready", () => {
  it.each<[string, Partial<ProbedParts>]>([
    ["audit_log", { audit: { failure: () => new Error("canary") } }],
    ["database", { readDatabase: broken }],
    ["database", { isStale: () => true }],
    ["vault", { vault: { allSecrets: broken } }],
    ["budgets", { readBudgets: broken }],
    ["secret_search", { knownSecrets: { matcher: broken } }],
  ])("because of its %s", async (name, more) => {
    expect(await failedWith(more)).toEqual([name]);
  });

  it("but is while a shared database is away for a shorter time than allowed", async () => {
    expect(await failedWith({ isStale: () => false, readDatabase: broken })).toEqual([]);
    expect(await failedWith({})).toEqual([]);
  });
});
