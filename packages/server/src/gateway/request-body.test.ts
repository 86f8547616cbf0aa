// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { topLevelString } from "./request-body.ts";

const field = (text: string) => topLevelString(Buffer.from(text), "model");

describe("top-level field of a JSON body", () => {
  it.each([
    ['{"model":"a"}', "a"],
    ['{"messages":[{"model":"x"}],"model":"gpt-4o"}', "gpt-4o"],
    ['{"x":"\\"model\\":\\"b\\"","model":"a"}', "a"],
    ['{"x":"\\\\","model":"a"}', "a"],
    ['{"mod\\u0065l":"a"}', "a"],
    ['{"a":{"model":"x"}}', undefined],
    ['{"a":"model"}', undefined],
  ])("reads %s", (text, value) => {
    expect(field(text)).toEqual({ ok: true, value });
  });

  it.each([
    ['{"model":"a","model":"b"}', "duplicate_field"],
    ['{"model":"a","mod\\u0065l":"b"}', "duplicate_field"],
    ['{"model":"a","Model":"b"}', "duplicate_field"],
    ['{"MODEL":"b"}', "duplicate_field"],
    ['{"model":["a"]}', "not_a_string"],
    ["[]", "not_an_object"],
    ["null", "not_an_object"],
    ['{"model":"a",}', "not_json"],
    ['{"model":"a"} {"model":"b"}', "not_json"],
    ['\u{feff}{"model":"a"}', "not_json"],
    ["", "not_json"],
  ])("refuses %s", (text, reason) => {
    expect(field(text)).toEqual({ ok: false, reason });
  });

  it("refuses bytes that are not UTF-8", () => {
    expect(topLevelString(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), "model")).toMatchObject({
      ok: false,
    });
  });

  it("agrees with JSON.parse on every object", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.string(), (object, model) => {
        fc.pre(!Object.keys(object).some((key) => key.toLowerCase() === "model"));
        const text = JSON.stringify({ ...object, model }, null, 1);
        expect(field(text)).toEqual({ ok: true, value: model });
      }),
    );
  });
});
