// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { memberOf, parseStrictJson } from "./strict-json.ts";

const parse = (text: string) => parseStrictJson(Buffer.from(text));

describe("parseStrictJson", () => {
  test.each([
    ['{"sub":"a","sub":"b"}', "json_duplicate_name"],
    ['{"sub":"a","s\\u0075b":"b"}', "json_duplicate_name"],
    ['{"a":[{"b":1,"c":{},"b":2}]}', "json_duplicate_name"],
    ['{"a":{"x":1},"b":{"x":1},"a":0}', "json_duplicate_name"],
    [`${"[".repeat(17)}${"]".repeat(17)}`, "json_too_deep"],
    [`${"[".repeat(100_000)}${"]".repeat(100_000)}`, "json_too_deep"],
    ['{"a":1}{"b":2}', "json_malformed"],
    ["{'a':1}", "json_malformed"],
    ["", "json_malformed"],
    ["\uFEFF{}", "json_malformed"],
  ])("refuses %j as %s", (text, reason) => {
    expect(parse(text)).toEqual({ ok: false, reason });
  });

  test("refuses bytes that are no UTF-8", () => {
    expect(parseStrictJson(Buffer.from([0x22, 0xff, 0x22]))).toEqual({ ok: false, reason: "json_malformed" });
  });

  test("names may repeat in different objects, and as values", () => {
    const text = '{"a":"a","b":{"a":["a","a"],"b":"}{,"},"c":[{"a":1},{"a":1}]}';
    expect(parse(text)).toEqual({ ok: true, value: JSON.parse(text) });
  });

  test("reads every JSON value of a bounded depth as JSON.parse does", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const text = JSON.stringify(value);
        expect(parse(text)).toEqual({ ok: true, value: JSON.parse(text) });
      }),
    );
  });

  test("a name repeated anywhere is found, however it is escaped", () => {
    const name = fc.string({ unit: "binary", maxLength: 5 });
    fc.assert(
      fc.property(name, fc.jsonValue({ maxDepth: 3 }), (key, value) => {
        const escaped = escape(key);
        const text = `[{${JSON.stringify(key)}:${JSON.stringify(value)},"${escaped}":1}]`;
        expect(parse(text)).toEqual({ ok: false, reason: "json_duplicate_name" });
      }),
    );
  });
});

/** Every UTF-16 unit as `\uXXXX`. */
const escape = (text: string): string =>
  text
    .split("")
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .join("");

test("members are the object's own", () => {
  expect(memberOf({}, "constructor")).toBeUndefined();
  expect(memberOf(JSON.parse('{"__proto__":1}') as Record<string, unknown>, "__proto__")).toBe(1);
});
