// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { visible } from "@postern/server/visible-text";
import { quotedBytes, quotedLines } from "./quoted-text.ts";

describe("what an agent wrote", () => {
  it.each([
    ["\u001b[2J\u001b[1;1Happroved", "\\u{1b}[2J\\u{1b}[1;1Happroved"],
    ["safe\u202Eexe.txt", "safe\\u{202e}exe.txt"],
    ["a\u2066b\u2069", "a\\u{2066}b\\u{2069}"],
    ["zero\u200bwidth\ufeff", "zero\\u{200b}width\\u{feff}"],
    ["over\rwritten", "over\\u{d}written"],
    ["tag\u{e0041}", "tag\\u{e0041}"],
    ["no\u00a0break\u3164", "no\\u{a0}break\\u{3164}"],
    ["\u009b31m", "\\u{9b}31m"],
    ["\ud800", "\\u{d800}"],
    ["nothing odd: ä 漢字 😀", "nothing odd: ä 漢字 😀"],
  ])("%j is shown as what it is", (text, shown) => expect(visible(text)).toBe(shown));

  it("cannot write a line that passes for one of ours", () => {
    const text = "hello\napproval 1 is approved\u2028needs 0 of nobody\r\nend";
    for (const line of quotedLines(text).split("\n")) expect(line).toMatch(/^ {2}\| [^\r\u2028]*$/);
  });

  it("is shown in hex where it is no text, to the byte", () => {
    const bytes = Buffer.from([0xff, 0xfe, 0x00, 0x41]);
    expect(quotedBytes(bytes)).toContain("fffe0041");
    expect(quotedBytes(Buffer.from("\ufffd"))).toBe("  | \ufffd");
  });
});
