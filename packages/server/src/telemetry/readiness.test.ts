// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { readinessOf } from "./readiness.ts";

describe("readiness", () => {
  it("is refused by a probe that throws or rejects, and does not repeat its words", async () => {
    const check = readinessOf({
      well: () => undefined,
      throws: () => {
        throw new Error("canary");
      },
      rejects: () => Promise.reject(new Error("canary")),
      says: () => "it is full",
    });
    const answer = await check();
    expect(answer).toEqual({
      ready: false,
      checks: [
        { name: "well", ok: true },
        { name: "throws", ok: false, reason: "the check itself failed" },
        { name: "rejects", ok: false, reason: "the check itself failed" },
        { name: "says", ok: false, reason: "it is full" },
      ],
    });
  });

  it("is refused by a probe that does not answer", async () => {
    const check = readinessOf({ hangs: () => new Promise(() => {}) }, { patience: 5 });
    expect(await check()).toMatchObject({ ready: false, checks: [{ reason: "no answer in time" }] });
  });

  it("is asked once for everybody within half a second, and again after that", async () => {
    let asked = 0;
    let now = 0;
    const probe = () => (++asked > 1 ? "worse" : undefined);
    const check = readinessOf({ probe }, { now: () => now });
    const answers = await Promise.all(Array.from({ length: 1000 }, () => check()));
    expect(asked).toBe(1);
    expect(answers.every(({ ready }) => ready)).toBe(true);
    now = 501;
    expect(await check()).toMatchObject({ ready: false });
    expect(asked).toBe(2);
  });
});
