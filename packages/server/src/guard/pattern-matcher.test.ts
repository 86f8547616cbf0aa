// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { joined, type Matcher, PatternMatcher } from "./pattern-matcher.ts";

const folded = (bytes: Uint8Array): Buffer =>
  Buffer.from(
    Buffer.from(bytes)
      .toString("latin1")
      .replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase()),
    "latin1",
  );

/** The same the slow way. */
const naive = {
  spans(patterns: readonly Buffer[], data: Uint8Array): string[] {
    const spans = new Set<string>();
    for (const pattern of patterns.map(folded))
      for (let at = 0; at + pattern.length <= data.length; at++)
        if (folded(data.subarray(at, at + pattern.length)).equals(pattern))
          spans.add(`${at}-${at + pattern.length}`);
    return [...spans].sort();
  },
  openFrom(patterns: readonly Buffer[], data: Uint8Array): number {
    for (let at = 0; at < data.length; at++) {
      const rest = folded(data.subarray(at));
      if (
        patterns.some(
          (each) => each.length > rest.length && folded(each).subarray(0, rest.length).equals(rest),
        )
      )
        return at;
    }
    return data.length;
  },
};

function spansOf(matcher: Matcher, data: Uint8Array): string[] {
  const spans: string[] = [];
  matcher.scan(data, (start, end) => spans.push(`${start}-${end}`));
  return [...new Set(spans)].sort();
}

/** Few letters, so that patterns repeat, overlap and contain each other. */
const word = (least: number, most: number): fc.Arbitrary<Buffer> =>
  fc
    .array(fc.constantFrom(0x61, 0x62, 0x41, 0, 0xff), { minLength: least, maxLength: most })
    .map((bytes) => Buffer.from(bytes));

describe("a matcher", () => {
  it("finds what a slow search finds, and holds open what could still become a pattern", () => {
    fc.assert(
      fc.property(fc.array(word(4, 14), { maxLength: 60 }), word(0, 80), (patterns, data) => {
        const matcher = PatternMatcher.of(patterns);
        expect(spansOf(matcher, data)).toEqual(naive.spans(patterns, data));
        expect(matcher.openFrom(data)).toBe(naive.openFrom(patterns, data));
      }),
      { numRuns: 2000 },
    );
  });

  it("does so for patterns with a long beginning in common", () => {
    const prefix = Buffer.from("sk-ant-api03-");
    const patterns = Array.from({ length: 300 }, (_, index) =>
      Buffer.concat([prefix, Buffer.from(`${index * 7919}`)]),
    );
    const matcher = PatternMatcher.of(patterns);
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...patterns.slice(0, 30), prefix, prefix.subarray(0, 5)), { maxLength: 5 }),
        fc.nat(20),
        (parts, cut) => {
          const whole = Buffer.concat(parts);
          const data = whole.subarray(0, Math.max(0, whole.length - cut));
          expect(spansOf(matcher, data)).toEqual(naive.spans(patterns, data));
          expect(matcher.openFrom(data)).toBe(naive.openFrom(patterns, data));
        },
      ),
      { numRuns: 300 },
    );
  });

  it("sorts patterns that end where others go on with zero bytes", () => {
    const patterns = Array.from({ length: 80 }, (_, index) =>
      Buffer.concat([Buffer.from("abcd"), Buffer.alloc(index % 40)]),
    );
    const matcher = PatternMatcher.of(patterns);
    for (let zeros = 0; zeros < 39; zeros++)
      expect(matcher.openFrom(Buffer.concat([Buffer.from("abcd"), Buffer.alloc(zeros)]))).toBe(0);
    expect(matcher.openFrom(Buffer.concat([Buffer.from("abcd"), Buffer.alloc(39)]))).toBe(43);
  });

  it("without patterns finds nothing and holds nothing open", () => {
    const matcher = PatternMatcher.of([]);
    expect([
      matcher.longest,
      spansOf(matcher, Buffer.from("text")),
      matcher.openFrom(Buffer.from("text")),
    ]).toEqual([0, [], 4]);
  });

  it("refuses patterns that would stand in every text", () => {
    expect(() => PatternMatcher.of([Buffer.from("abc")])).toThrow(RangeError);
  });

  it("joined with another finds what both find", () => {
    const both = joined([
      PatternMatcher.of([Buffer.from("first")]),
      PatternMatcher.of([Buffer.from("second")]),
    ]);
    expect(spansOf(both, Buffer.from("first second"))).toEqual(["0-5", "6-12"]);
    expect([both.longest, both.openFrom(Buffer.from("a seco")), both.openFrom(Buffer.from("a fir"))]).toEqual(
      [6, 2, 2],
    );
  });

  /** Bytes compared are not seen from outside, so this is about time; the slow way takes minutes here. */
  it.each([
    ["a beginning that all patterns share", Buffer.from("sk-proj-")],
    ["a pattern without its end", Buffer.concat([Buffer.from("sk-proj-"), Buffer.alloc(40, "x1")])],
  ])("goes over a text made of %s once", (_, piece) => {
    const matcher = PatternMatcher.of(
      Array.from({ length: 20_000 }, (_none, index) => Buffer.from(`sk-proj-${"x1".repeat(20)}${index}`)),
    );
    const started = performance.now();
    matcher.scan(Buffer.alloc(4_000_000, piece), () => {});
    expect(performance.now() - started).toBeLessThan(2000);
  });
});
