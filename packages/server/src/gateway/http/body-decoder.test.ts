// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BodyDecoder } from "./body-decoder.ts";
import type { Framing } from "./message-head.ts";

/** Feeds pieces of `size` bytes; what came out, what was left over, or the complaint. */
function decode(framing: Framing, bytes: string, size = bytes.length) {
  const decoder = new BodyDecoder(framing);
  const data = Buffer.from(bytes, "latin1");
  let body = "";
  for (let at = 0; at < data.length; at += Math.max(1, size)) {
    const piece = data.subarray(at, at + Math.max(1, size));
    const end = decoder.read(piece, 0, (part) => (body += part.toString("latin1")));
    if (!end.ok) return { complaint: end.reason };
    if (decoder.isDone) return { body, rest: data.subarray(at + end.value).toString("latin1") };
  }
  return { body, isOpen: true, mayEndHere: decoder.mayEndHere };
}

const chunked: Framing = { kind: "chunked" };

describe("chunks that could be read in two ways", () => {
  it.each([
    ["a size that is no number", "zz\r\nabc\r\n0\r\n\r\n"],
    ["no size", "\r\nabc\r\n0\r\n\r\n"],
    ["a negative size", "-1\r\n\r\n0\r\n\r\n"],
    ["a size with a sign", "+3\r\nabc\r\n0\r\n\r\n"],
    ["a size with a prefix", "0x3\r\nabc\r\n0\r\n\r\n"],
    ["a size that overflows", "fffffffffffffffff\r\nabc"],
    ["a space in front of the size", " 3\r\nabc\r\n0\r\n\r\n"],
    ["a space after the size", "3 \r\nabc\r\n0\r\n\r\n"],
    ["a tab after the size", "3\t\r\nabc\r\n0\r\n\r\n"],
    ["an extension without a name", "3;\r\nabc\r\n0\r\n\r\n"],
    ["an extension without a value", "3;a=\r\nabc\r\n0\r\n\r\n"],
    ["a space in front of an extension", "3 ;a\r\nabc\r\n0\r\n\r\n"],
    ["a trailer with a length", "0\r\ncontent-length: 3\r\n\r\n"],
    ["a trailer with a coding", "0\r\ntransfer-encoding: chunked\r\n\r\n"],
    ["a size line that ends in a bare line feed", "3\nabc\r\n0\r\n\r\n"],
    ["a chunk that ends in a bare line feed", "3\r\nabc\n0\r\n\r\n"],
    ["a chunk that is longer than its size", "3\r\nabcd\r\n0\r\n\r\n"],
    ["a carriage return within an extension", "3;a=\rb\r\nabc\r\n0\r\n\r\n"],
    ["an extension without a semicolon", "3 a\r\nabc\r\n0\r\n\r\n"],
    ["a last chunk that ends in a bare line feed", "0\n\n"],
    ["a trailer without a colon", "0\r\nnothing\r\n\r\n"],
    ["a trailer with a space before the colon", "0\r\nx : y\r\n\r\n"],
    ["an extension that never ends", `3;${"a".repeat(2000)}`],
    ["trailers that never end", `0\r\n${"x: y\r\n".repeat(5000)}`],
    ["many small extensions", `1;${"a".repeat(900)}\r\nx\r\n`.repeat(20)],
  ])("are refused however they are split: %s", (_name, bytes) => {
    for (const size of [1, 2, 3, 7, bytes.length])
      expect(decode(chunked, bytes, size)).toHaveProperty("complaint");
  });
});

describe("a body", () => {
  it("in chunks ends with the last one, extensions and trailers read over", () => {
    const bytes = '3;a=b\r\nabc\r\n00A;c;d="e f"\r\n0123456789\r\n000\r\nx: y\r\nz: w\r\n\r\nGET';
    for (let size = 1; size <= bytes.length; size++)
      expect(decode(chunked, bytes, size)).toEqual({ body: "abc0123456789", rest: "GET" });
  });

  it("of a length ends there", () => {
    for (const size of [1, 2, 3, 100])
      expect(decode({ kind: "length", length: 5 }, "abcdeGET", size)).toEqual({ body: "abcde", rest: "GET" });
  });

  it("that is not there has ended", () => {
    expect(new BodyDecoder({ kind: "none" }).isDone).toBe(true);
  });

  it("until the end of the connection may end anywhere, others may not", () => {
    expect(decode({ kind: "until-close" }, "abc", 2)).toEqual({
      body: "abc",
      isOpen: true,
      mayEndHere: true,
    });
    expect(decode({ kind: "length", length: 5 }, "abc")).toMatchObject({ isOpen: true, mayEndHere: false });
    expect(decode(chunked, "3\r\nabc\r\n")).toMatchObject({ isOpen: true, mayEndHere: false });
  });

  it("comes out as it went in, whatever the chunks and the pieces", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc
            .string({ unit: "binary", minLength: 1, maxLength: 40 })
            .map((text) => Buffer.from(text).toString("latin1")),
        ),
        fc.integer({ min: 1, max: 50 }),
        (chunks, size) => {
          const bytes = [
            ...chunks.map((each) => `${each.length.toString(16)}\r\n${each}\r\n`),
            "0\r\n\r\nrest",
          ].join("");
          expect(decode(chunked, bytes, size)).toEqual({ body: chunks.join(""), rest: "rest" });
        },
      ),
    );
  });
});
