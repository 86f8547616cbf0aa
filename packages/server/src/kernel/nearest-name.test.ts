// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { nearestName } from "./nearest-name.ts";

describe("the name that was meant", () => {
  it.each([
    ["agnets", ["agents", "allow"], "agents"],
    ["Agents", ["agents"], "agents"],
    ["serverWorkloads", ["serverWorkload", "server"], "serverWorkload"],
    ["gpt-4o-mni", ["gpt-4o", "gpt-4o-mini"], "gpt-4o-mini"],
    ["a", ["ab", "xyz"], "ab"],
  ])("for %s of %j is %s", (wrong, candidates, meant) => {
    expect(nearestName(wrong, candidates)).toBe(meant);
  });

  it.each([
    ["banana", ["agents", "allow"]],
    ["x", []],
    ["", ["agents"]],
  ])("for %j of %j is nobody's guess", (wrong, candidates) => {
    expect(nearestName(wrong, candidates)).toBe(undefined);
  });

  it("is the first of equals, so that answers do not change", () => {
    expect(nearestName("axc", ["abc", "adc"])).toBe("abc");
  });
});
