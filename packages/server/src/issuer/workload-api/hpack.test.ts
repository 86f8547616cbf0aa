// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeLiterally, type HeaderField, HpackDecoder } from "./hpack.ts";
import { decodeHuffman } from "./huffman.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const words = (fields: readonly HeaderField[]) =>
  fields.map(([name, value]) => `${name.toString()}: ${value.toString()}`);

const FIRST = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
const SECOND = [...FIRST, "cache-control: no-cache"];
const THIRD = [
  ":method: GET",
  ":scheme: https",
  ":path: /index.html",
  ":authority: www.example.com",
  "custom-key: custom-value",
];

describe("the examples of RFC 7541", () => {
  it("C.3: three requests on one connection, without the Huffman code", () => {
    const decoder = new HpackDecoder();
    expect(words(decoder.decode(hex("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d")))).toEqual(FIRST);
    expect(words(decoder.decode(hex("8286 84be 5808 6e6f 2d63 6163 6865")))).toEqual(SECOND);
    const third = "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65";
    expect(words(decoder.decode(hex(third)))).toEqual(THIRD);
  });

  it("C.4: the same with the Huffman code", () => {
    const decoder = new HpackDecoder();
    expect(words(decoder.decode(hex("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff")))).toEqual(FIRST);
    expect(words(decoder.decode(hex("8286 84be 5886 a8eb 1064 9cbf")))).toEqual(SECOND);
    const third = "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf";
    expect(words(decoder.decode(hex(third)))).toEqual(THIRD);
  });

  it("C.2: fields that are remembered, and fields that are not", () => {
    const decoder = new HpackDecoder();
    expect(
      words(decoder.decode(hex("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"))),
    ).toEqual(["custom-key: custom-header"]);
    expect(words(decoder.decode(hex("be")))).toEqual(["custom-key: custom-header"]);
    expect(words(decoder.decode(hex("040c 2f73 616d 706c 652f 7061 7468")))).toEqual([":path: /sample/path"]);
    expect(words(decoder.decode(hex("1008 7061 7373 776f 7264 0673 6563 7265 74")))).toEqual([
      "password: secret",
    ]);
    expect(() => decoder.decode(hex("bf"))).toThrow("no entry");
  });

  it("C.5: entries leave the table as it gets full", () => {
    const decoder = new HpackDecoder();
    // A table of 256 bytes, as in the example.
    const size = Buffer.from([0x3f, 0xe1, 0x01]);
    const block = (n: number) =>
      Buffer.concat([hex("40 01"), Buffer.from("abcdefgh"[n]!), Buffer.from([100]), Buffer.alloc(100, 120)]);
    decoder.decode(Buffer.concat([size, block(0)]));
    decoder.decode(block(1));
    expect(decoder.decode(hex("be"))[0]![0].toString()).toBe("b");
    expect(() => decoder.decode(hex("bf"))).toThrow("no entry");
  });
});

describe("a header block", () => {
  it.each([
    ["an index of zero", "80"],
    ["an index beyond the tables", "ff20"],
    ["an integer without end", "ffffffffffffffff"],
    ["a text that is cut off", "400a6375"],
    ["a length that is cut off", "40"],
    ["a Huffman code that is not filled up with ones", "4081f07f00"],
    ["a Huffman code with the end of string in it", "40 84 ffffffff 00"],
    ["a table larger than what was offered", "3fe21f"],
    ["a size update after a field", "8220"],
  ])("is refused with %s", (_, block) => {
    expect(() => new HpackDecoder().decode(hex(block))).toThrow();
  });

  it("is refused where it would grow large in memory", () => {
    const decoder = new HpackDecoder();
    decoder.decode(Buffer.concat([hex("40 01 61 7f a1 1e"), Buffer.alloc(4000, 120)]));
    expect(() => decoder.decode(Buffer.alloc(100, 0xbe))).toThrow("too many or too large");
    expect(() => new HpackDecoder().decode(Buffer.alloc(200, 0x82))).toThrow("too many or too large");
  });

  it("of plain literals is read as what was written", () => {
    const bytes = fc.uint8Array({ maxLength: 300 }).map((each) => Buffer.from(each));
    fc.assert(
      fc.property(fc.array(fc.tuple(bytes, bytes), { maxLength: 20 }), (fields) => {
        expect(new HpackDecoder().decode(encodeLiterally(fields))).toEqual(fields);
      }),
    );
  });

  it("is read or refused by its own error, whatever the bytes are", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 4 }), (blocks) => {
        const decoder = new HpackDecoder();
        try {
          for (const block of blocks) expect(decoder.decode(Buffer.from(block))).toBeInstanceOf(Array);
        } catch (error) {
          expect((error as Error).constructor.name).toBe("HpackError");
        }
      }),
      { numRuns: 5000 },
    );
  });
});

describe("the Huffman code", () => {
  it("is filled up with fewer ones than a byte has, and with nothing else (§5.2)", () => {
    expect(decodeHuffman(hex("1f"))?.toString()).toBe("a");
    expect(decodeHuffman(hex(""))?.length).toBe(0);
    for (const wrong of ["ff", "1fff", "18", "1e", "ffffffff"])
      expect(decodeHuffman(hex(wrong)), wrong).toBeUndefined();
  });
});
