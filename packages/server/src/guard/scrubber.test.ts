// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PatternMatcher, Scrubber, scrubText } from "./scrubber.ts";
import { secretPatterns } from "./secret-patterns.ts";

const secret = 'sk-proj-Zq8/+fJ2w"x\\y=ü7LmN0pQ';
const matcher = new PatternMatcher(secretPatterns(Buffer.from(secret)));

function scrub(parts: readonly Buffer[]): { text: string; found: number } {
  const scrubber = new Scrubber(matcher);
  const out = [...parts.map((part) => scrubber.push(part)), scrubber.end()];
  return { text: Buffer.concat(out).toString("latin1"), found: scrubber.found };
}

function split(data: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (data.length + 1)))].sort((a, b) => a - b);
  return [0, ...places].map((from, index) => data.subarray(from, places[index] ?? data.length));
}

/** Every way in which an upstream could send the secret back, with text before and after. */
const encodings: Record<string, (before: string, after: string) => string> = {
  raw: (before, after) => before + secret + after,
  base64: (before, after) => Buffer.from(before + secret + after).toString("base64"),
  base64url: (before, after) => Buffer.from(before + secret + after).toString("base64url"),
  hex: (before, after) => Buffer.from(before + secret + after).toString("hex"),
  "upper-case hex": (before, after) =>
    Buffer.from(before + secret + after)
      .toString("hex")
      .toUpperCase(),
  percent: (before, after) =>
    before +
    [...Buffer.from(secret)]
      .map((byte) =>
        /[\w.~-]/.test(String.fromCharCode(byte))
          ? String.fromCharCode(byte)
          : "%" + byte.toString(16).toUpperCase().padStart(2, "0"),
      )
      .join("") +
    after,
  json: (before, after) => JSON.stringify({ echo: before + secret + after }),
  basic: (before, after) => `Basic ${Buffer.from(`${before}:${secret}`).toString("base64")}${after}`,
};

describe("scrubber", () => {
  it.each(Object.keys(encodings))(
    "removes the secret in form %s wherever it stands and however it is split",
    (form) => {
      fc.assert(
        fc.property(
          fc.string({ maxLength: 7 }),
          fc.string({ maxLength: 7 }),
          fc.array(fc.nat(500), { maxLength: 12 }),
          (before, after, cuts) => {
            const data = Buffer.from(encodings[form]!(before, after));
            const result = scrub(split(data, cuts));
            expect(result.found).toBeGreaterThan(0);
            expect(result.text.length).toBe(data.length);
            for (const pattern of secretPatterns(Buffer.from(secret)))
              expect(result.text.includes(pattern.toString("latin1"))).toBe(false);
          },
        ),
        { numRuns: 300 },
      );
    },
  );

  it("leaves every other byte as it was, whatever the chunks", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.array(fc.nat(400)), (bytes, cuts) => {
        const data = Buffer.from(bytes);
        expect(scrub(split(data, cuts))).toEqual({ text: data.toString("latin1"), found: 0 });
      }),
    );
  });

  it("holds back no byte that cannot begin a pattern", () => {
    const scrubber = new Scrubber(matcher);
    expect(scrubber.push(Buffer.from("data: hello\n\n")).toString()).toBe("data: hello\n\n");
    expect(scrubber.push(Buffer.from("data: " + secret.slice(0, 9))).toString()).toBe("data: ");
    expect(scrubber.push(Buffer.from("!")).toString()).toBe(secret.slice(0, 9) + "!");
  });

  it("masks overlapping occurrences", () => {
    const aba = new PatternMatcher([Buffer.from("abcab"), Buffer.from("cabx")]);
    const scrubber = new Scrubber(aba);
    const out = [..."zabcabcabxz"].map((c) => scrubber.push(Buffer.from(c)).toString()).join("");
    expect(out + scrubber.end().toString()).toBe("z*********z");
  });

  it("cleans short texts", () => {
    const header = Buffer.from(`Bearer ${secret};`).toString("latin1");
    expect(scrubText(matcher, header)).toEqual({
      text: expect.stringMatching(/^Bearer \*+;$/),
      found: 1,
    });
    expect(scrubText(matcher, "plain")).toEqual({ text: "plain", found: 0 });
  });
});
