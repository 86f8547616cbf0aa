// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import { globMatches } from "./glob.ts";

describe("a pattern", () => {
  test.each([
    ["*", "", true],
    ["*", "a/b\nc", true],
    ["a", "a", true],
    ["a", "ab", false],
    ["a*", "a", true],
    ["a*b", "ab", true],
    ["ab*b", "ab", false],
    ["*a*", "bab", true],
    ["a*a", "a", false],
    ["a**b", "ab", true],
    ["a*b*c", "abxbc", true],
    ["a*bc*c", "abc", false],
    ["a.c", "abc", false],
    ["a\\*", "a*", false],
    ["[a-z]", "b", false],
    ["é*", "e\u0301x", false],
  ])("%j against %j gives %j", (pattern, text, expected) => {
    expect(globMatches(pattern, text)).toBe(expected);
  });

  test("costs little on a text made to backtrack", () => {
    const started = performance.now();
    expect(globMatches(`${"a*".repeat(200)}b`, "a".repeat(8192))).toBe(false);
    expect(performance.now() - started).toBeLessThan(2000);
  });
});
