// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MessageScrubber } from "./message-scrubber.ts";
import { type Matcher, PatternMatcher } from "./pattern-matcher.ts";
import { secretPatterns } from "./secret-patterns.ts";

const secret = 'sk-proj-Zq8/+fJ2w"x\\y=ü7 <m>N0:pQ';
const bytes = Buffer.from(secret);
const matcher = PatternMatcher.of(secretPatterns(bytes));

/** Messages as lists of their pieces; gives them back whole. */
function scrub(messages: readonly (readonly Buffer[])[], used: Matcher = matcher) {
  const scrubber = new MessageScrubber();
  const clean = messages.map((pieces) =>
    Buffer.concat(pieces.map((piece, at) => scrubber.push(piece, at === pieces.length - 1, used))).toString(
      "latin1",
    ),
  );
  return { clean, found: scrubber.found };
}

function split(data: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (data.length + 1)))].sort((a, b) => a - b);
  return [0, ...places].map((from, index) => data.subarray(from, places[index] ?? data.length));
}

const cuts = fc.array(fc.nat(600), { maxLength: 30 });

describe("a secret in one message", () => {
  it.each<[string, Buffer]>([
    ["raw", bytes],
    ["base64", Buffer.from(bytes.toString("base64"))],
    ["hex", Buffer.from(bytes.toString("hex"))],
    ["JSON", Buffer.from(JSON.stringify({ secret }))],
    ["a URL", Buffer.from(encodeURIComponent(secret))],
  ])("is masked in the form %s, whatever the pieces", (_form, spelled) => {
    fc.assert(
      fc.property(
        fc.string({ maxLength: 300 }),
        fc.string({ maxLength: 300 }),
        cuts,
        (before, after, places) => {
          const whole = Buffer.concat([Buffer.from(before), spelled, Buffer.from(after)]);
          const { clean, found } = scrub([split(whole, places)]);
          expect(found).toBeGreaterThan(0);
          expect(clean[0]).toHaveLength(whole.length);
          expect(clean[0]!.includes(spelled.toString("latin1").slice(4, -4))).toBe(false);
          expect(scrub([split(whole, places)])).toEqual(scrub([[whole]]));
        },
      ),
      { numRuns: 100 },
    );
  });

  it("is masked twice where it stands twice, and counted so", () => {
    const twice = Buffer.from(`${secret}-${secret}`);
    for (const size of [1, 7, 40, 1000]) {
      const pieces = Array.from({ length: Math.ceil(twice.length / size) }, (_, at) =>
        twice.subarray(at * size, (at + 1) * size),
      );
      expect(scrub([pieces])).toEqual({
        clean: [`${"*".repeat(bytes.length)}-${"*".repeat(bytes.length)}`],
        found: 2,
      });
    }
  });
});

it("counts a secret once, however often it is looked at", () => {
  const long = Buffer.concat([
    Buffer.alloc(1000, "a"),
    bytes,
    Buffer.alloc(1000, "b"),
    bytes,
    Buffer.from("c"),
  ]);
  for (let size = 1; size < 2 * matcher.longest; size += 9) {
    const pieces = Array.from({ length: Math.ceil(long.length / size) }, (_, at) =>
      long.subarray(at * size, (at + 1) * size),
    );
    expect(scrub([pieces, [Buffer.from("next")]])).toEqual({
      clean: [long.toString("latin1").replaceAll(bytes.toString("latin1"), "*".repeat(bytes.length)), "next"],
      found: 2,
    });
  }
});

describe("a secret over several messages", () => {
  it("loses what had not gone yet when it was whole", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: bytes.length - 1 }), cuts, (at, places) => {
        const first = Buffer.concat([Buffer.from("a"), bytes.subarray(0, at)]);
        const second = Buffer.concat([bytes.subarray(at), Buffer.from("b")]);
        const { clean, found } = scrub([split(first, places), split(second, places)]);
        expect(clean).toEqual([first.toString("latin1"), `${"*".repeat(bytes.length - at)}b`]);
        expect(found).toBe(1);
      }),
    );
  });

  it("does so over messages of a byte each, empty ones between them", () => {
    const messages = [...bytes].flatMap((byte) => [[Buffer.from([byte])], [Buffer.alloc(0)]]);
    expect(scrub(messages).found).toBe(1);
    expect(scrub(messages).clean.join("")).toBe(`${bytes.subarray(0, -1).toString("latin1")}*`);
  });
});

describe("what is no secret", () => {
  it("passes as it is, and each message with its last piece", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.uint8Array({ maxLength: 400 }), cuts), { maxLength: 5 }),
        (messages) => {
          const parts = messages.map(([data, places]) => split(Buffer.from(data), places));
          expect(scrub(parts)).toEqual({
            clean: messages.map(([data]) => Buffer.from(data).toString("latin1")),
            found: 0,
          });
        },
      ),
    );
  });

  it("is held back by its length alone, beginning of a secret or not", () => {
    const guess = Buffer.alloc(5000, bytes.subarray(0, bytes.length - 1));
    const other = Buffer.alloc(5000, "z");
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 900 }), { maxLength: 8 }), (sizes) => {
        const [right, wrong] = [new MessageScrubber(), new MessageScrubber()];
        let at = 0;
        for (const size of sizes) {
          const passed = [
            right.push(guess.subarray(at, at + size), false, matcher).length,
            wrong.push(other.subarray(at, at + size), false, matcher).length,
          ];
          expect(passed[0]).toBe(passed[1]);
          at += size;
        }
      }),
    );
  });

  it("is held back for two lengths of the longest pattern at most", () => {
    const scrubber = new MessageScrubber();
    let passed = 0;
    for (let given = 1; given <= 20_000; given++) {
      passed += scrubber.push(Buffer.from("x"), false, matcher).length;
      expect(given - passed).toBeLessThan(2 * matcher.longest);
    }
    expect(scrubber.push(Buffer.alloc(0), true, matcher).length).toBe(20_000 - passed);
  });

  it("is not held back at all where nothing is looked for", () => {
    expect(new MessageScrubber().push(Buffer.from("abc"), false, PatternMatcher.of([])).toString()).toBe(
      "abc",
    );
  });
});

it("looks for what is new from the next piece on", () => {
  const scrubber = new MessageScrubber();
  const nothing = PatternMatcher.of([]);
  expect(scrubber.push(bytes, true, nothing).equals(bytes)).toBe(true);
  expect(scrubber.push(bytes, true, matcher).toString()).toBe("*".repeat(bytes.length));
});
