// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { topLevelString } from "./json-field.ts";

const field = async (text: string) => topLevelString(Buffer.from(text), "model");

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
    return expect(field(text)).resolves.toEqual({ ok: true, value });
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
    return expect(field(text)).resolves.toEqual({ ok: false, reason });
  });

  it("refuses letters that fold to those of the field, ſ to s and the Kelvin sign to k", async () => {
    for (const key of ["ta\u017fk", "tas\u212a", "TA\u017fK"])
      expect(await topLevelString(Buffer.from(JSON.stringify({ task: "a", [key]: "b" })), "task")).toEqual({
        ok: false,
        reason: "duplicate_field",
      });
  });

  it("refuses bytes that are not UTF-8", () => {
    const bytes = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]);
    return expect((async () => topLevelString(bytes, "model"))()).resolves.toMatchObject({ ok: false });
  });

  it("agrees with JSON.parse on every object", () =>
    fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string(), fc.jsonValue()), fc.string(), async (object, model) => {
        fc.pre(!Object.keys(object).some((key) => key.toLowerCase() === "model"));
        const text = JSON.stringify({ ...object, model }, null, 1);
        expect(await field(text)).toEqual({ ok: true, value: model });
      }),
    ));

  it("takes for JSON exactly what JSON.parse takes", () => {
    const piece = fc.constantFrom(
      ...[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"',
        "\\",
        '"a"',
        '"model"',
        "1",
        "-0",
        "01",
        "1.",
        "1e5",
        "1E+",
        "true",
        "nul",
      ],
      ...[
        " ",
        "\n",
        "\u0000",
        "\\u00e9",
        "\\u12",
        "\\x",
        "ä",
        "\u{1f600}",
        '"model":"m"',
        "null",
        "{}",
        "[]",
      ],
    );
    return fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
        const text = pieces.join("");
        let isJson = true;
        try {
          JSON.parse(text);
        } catch {
          isJson = false;
        }
        const read = await field(text);
        expect(read.ok || read.reason !== "not_json").toBe(isJson);
      }),
      { numRuns: 20_000 },
    );
  });

  it("reads strings, keys and values that lie across slices", async () => {
    const long = "x".repeat(300_000);
    for (const pad of [0, 1, 262_130, 262_140, 262_143])
      expect(await field(`{${" ".repeat(pad)}"k${long}":"${long}","model":"m","z":["${long}\\""]}`)).toEqual({
        ok: true,
        value: "m",
      });
    expect(await field(`{"a":"${long}`)).toEqual({ ok: false, reason: "not_json" });
  });

  it("refuses nesting that breaks parsers, and a value of no sensible length", async () => {
    expect(await field(`{"a":${"[".repeat(300)}${"]".repeat(300)}}`)).toEqual({
      ok: false,
      reason: "not_json",
    });
    expect(await field(`{"a":${"[".repeat(200)}${"]".repeat(200)}}`)).toEqual({ ok: true, value: undefined });
    expect(await field(`{"model":"${"m".repeat(5000)}"}`)).toEqual({ ok: false, reason: "not_a_string" });
  });

  it("lets others take their turn while it reads millions of values", async () => {
    const body = Buffer.from(`{"model":"m","a":[${"{},".repeat(3_000_000)}1]}`);
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    expect(await topLevelString(body, "model")).toEqual({ ok: true, value: "m" });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(3);
  });
});
