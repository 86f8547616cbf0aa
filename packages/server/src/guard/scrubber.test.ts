// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PatternMatcher } from "./pattern-matcher.ts";
import { Scrubber, scrubText } from "./scrubber.ts";
import { secretPatterns } from "./secret-patterns.ts";

const secret = 'sk-proj-Zq8/+fJ2w"x\\y=ü7 <m>N0:pQ';
const others = Array.from({ length: 200 }, (_, index) => `sk-proj-Zq8/+${index}fJ2w"x&${index}`);
const matcher = PatternMatcher.of([secret, ...others].flatMap((each) => secretPatterns(Buffer.from(each))));

function scrub(parts: readonly Buffer[], used = matcher): { text: string; found: number } {
  const scrubber = new Scrubber(used);
  const out = [...parts.map((part) => scrubber.push(part)), scrubber.end()];
  return { text: Buffer.concat(out).toString("latin1"), found: scrubber.found };
}

function split(data: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (data.length + 1)))].sort((a, b) => a - b);
  return [0, ...places].map((from, index) => data.subarray(from, places[index] ?? data.length));
}

const hexDigits = (text: string, pattern: RegExp): string => {
  let turn = 0;
  return text.replaceAll(pattern, (digits) =>
    turn++ % 2 === 0 ? digits.toUpperCase() : digits.toLowerCase(),
  );
};
const ascii = (json: string): string =>
  json.replaceAll(/[^\0-~]/g, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);
const json = (text: string): string => JSON.stringify({ echo: text });
const mime = (before: string, after: string): Buffer => Buffer.from(before + secret + after);

/** Every way in which an upstream could send the secret back, with text before and after. */
const encodings: Record<string, (before: string, after: string) => string> = {
  raw: (before, after) => before + secret + after,
  "other case": (before, after) => before + secret.toLowerCase().replace("proj", "PROJ") + after,
  base64: (before, after) => mime(before, after).toString("base64"),
  base64url: (before, after) => mime(before, after).toString("base64url"),
  hex: (before, after) => mime(before, after).toString("hex"),
  "upper-case hex": (before, after) => mime(before, after).toString("hex").toUpperCase(),
  "hex of both cases": (before, after) => hexDigits(mime(before, after).toString("hex"), /../g),
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
  encodeURIComponent: (before, after) => before + encodeURIComponent(secret) + after,
  "percent with digits of both cases": (before, after) =>
    before + hexDigits(encodeURIComponent(secret), /%../g) + after,
  encodeURI: (before, after) => before + encodeURI(secret) + after,
  form: (before, after) => `${before}&${new URLSearchParams({ a: secret }).toString()}&${after}`,
  "plus sign for the space": (before, after) =>
    before + encodeURIComponent(secret).replaceAll("%20", "+") + after,
  "as it is injected into a query": (before, after) =>
    before + encodeURIComponent(secret).replaceAll("%3A", ":") + after,
  json: (before, after) => json(before + secret + after),
  "json, slashes escaped": (before, after) => json(before + secret + after).replaceAll("/", "\\/"),
  "json in ASCII": (before, after) => ascii(json(before + secret + after)),
  "json in ASCII, upper-case digits": (before, after) =>
    ascii(json(before + secret + after)).replaceAll(
      /\\u..../g,
      (code) => `\\u${code.slice(2).toUpperCase()}`,
    ),
  "json in ASCII, slashes escaped": (before, after) =>
    ascii(json(before + secret + after)).replaceAll("/", "\\/"),
  "json for HTML": (before, after) =>
    json(before + secret + after).replaceAll(/[<>&]/g, (each) => `\\u00${each.charCodeAt(0).toString(16)}`),
  "json in json": (before, after) => json(json(before + secret + after)),
  "json of a header read as Latin-1": (before, after) =>
    json(before + Buffer.from(secret).toString("latin1") + after),
  basic: (before, after) => `Basic ${mime(`${before}:`, "").toString("base64")}${after}`,
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
            expect(scrub([Buffer.from(result.text, "latin1")]).found).toBe(0);
            expect(/\*{28,}/.test(result.text)).toBe(true);
          },
        ),
        // All forms together: more than 4,000 placements.
        { numRuns: 200 },
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

  it("gives the same for every split", () => {
    const piece = fc.constantFrom(
      ...[secret, secret.slice(0, 12), secret.slice(-12), "sk-proj-", others[3]!, others[7]!.slice(3), " "],
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 8 }),
        fc.array(fc.nat(500), { maxLength: 30 }),
        (parts, cuts) => {
          const data = Buffer.from(parts.join(""));
          expect(scrub(split(data, cuts))).toEqual(scrub([data]));
        },
      ),
      { numRuns: 500 },
    );
  });

  it("holds back the same whether a guess is right or wrong", () => {
    const bytes = Buffer.from(secret);
    const heldAfter = (text: Buffer): number => text.length - new Scrubber(matcher).push(text).length;
    for (const before of ["", "data: ", "x".repeat(500), "line\n"].map((text) => Buffer.from(text)))
      for (let right = 1; right < bytes.length; right++) {
        const guess = Buffer.concat([before, bytes.subarray(0, right)]);
        const wrong = Buffer.concat([before, bytes.subarray(0, right - 1), Buffer.from([1])]);
        expect(heldAfter(guess)).toBe(heldAfter(wrong));
      }
  });

  it("holds back nothing behind the end of an event, a JSON line or a line", () => {
    for (const text of ["data: hello\n\n", "data: a\r\n\r\n", '{"a":1}\n', "a line\n"]) {
      const scrubber = new Scrubber(matcher);
      expect(scrubber.push(Buffer.from(`data: x\n\n${text}`)).toString()).toBe(`data: x\n\n${text}`);
      expect(scrubber.push(Buffer.from("rest")).toString()).toBe("");
      expect(scrubber.end().toString()).toBe("rest");
    }
  });

  it("takes the end of a line for what it is in a secret of lines", () => {
    const key = "-----BEGIN KEY-----\nMIIabcdefgh\nijklmnop\n-----END KEY-----\n";
    const ofLines = PatternMatcher.of(secretPatterns(Buffer.from(key)));
    const scrubber = new Scrubber(ofLines);
    expect(scrubber.push(Buffer.from("data: hello\n\n")).toString()).toBe("data: hello\n\n");
    expect(scrubber.push(Buffer.from('{"a":1}\n')).toString()).toBe('{"a":1}\n');
    const lines = key.split(/(?<=\n)/).map((line) => Buffer.from(line));
    expect(scrub(lines, ofLines).text).toBe("*".repeat(key.length));
  });

  it("holds back less than the longest pattern, whatever comes", () => {
    fc.assert(
      fc.property(fc.nat(60), fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 80 }), (from, sizes) => {
        const endless = Buffer.alloc(2000, secret.slice(0, from) + others[5]!);
        const scrubber = new Scrubber(matcher);
        let [given, taken] = [0, 0];
        for (const size of sizes) {
          taken += scrubber.push(endless.subarray(given, given + size)).length;
          given += size;
          expect(given - taken).toBeLessThan(matcher.longest);
        }
      }),
      { numRuns: 50 },
    );
  });

  it("masks overlapping occurrences", () => {
    const aba = PatternMatcher.of([Buffer.from("abcab"), Buffer.from("cabx")]);
    for (const size of [1, 2, 3, 4, 11])
      expect(scrub(split(Buffer.from("zabcabcabxz"), [size, 2 * size, 3 * size, 4 * size]), aba).text).toBe(
        "z*********z",
      );
  });

  it("cleans short texts", () => {
    const header = Buffer.from(`Bearer ${secret};`).toString("latin1");
    expect(scrubText(matcher, header)).toEqual({ text: expect.stringMatching(/^Bearer \*+;$/), found: 1 });
    expect(scrubText(matcher, "plain")).toEqual({ text: "plain", found: 0 });
  });
});

describe("patterns of a secret", () => {
  it("are itself alone where it is short, and none where it is very short", () => {
    expect(secretPatterns(Buffer.from("abcdefg")).map(String)).toEqual(["abcdefg"]);
    expect(secretPatterns(Buffer.from("abc"))).toEqual([]);
    expect(secretPatterns(Buffer.alloc(0))).toEqual([]);
  });

  it("are long enough to be found, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 8, maxLength: 40 }), (bytes) => {
        for (const pattern of secretPatterns(Buffer.from(bytes)))
          expect(pattern.length).toBeGreaterThanOrEqual(8);
      }),
    );
  });
});
