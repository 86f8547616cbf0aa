// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FrameReader, type Piece } from "./frame-reader.ts";
import { closePayload, FrameWriter } from "./frame-writer.ts";

/** Written by hand, so that a test does not believe the writer. */
function frame(first: number, payload: Buffer | string = "", length?: readonly number[]): Buffer {
  const bytes = Buffer.from(payload as string);
  const { length: n } = bytes;
  const own =
    n < 126
      ? [n]
      : n < 65_536
        ? [126, n >> 8, n & 0xff]
        : [127, 0, 0, 0, 0, 0, n >> 16, (n >> 8) & 0xff, n & 0xff];
  return Buffer.concat([Buffer.from([first, ...(length ?? own)]), bytes]);
}

function maskedFrame(first: number, payload: Buffer | string = "", key = [1, 2, 3, 4]): Buffer {
  const plain = Buffer.from(payload as string);
  const whole = frame(first, plain);
  const head = Buffer.from(whole.subarray(0, whole.length - plain.length));
  head[1]! |= 0x80;
  return Buffer.concat([head, Buffer.from(key), plain.map((byte, at) => byte ^ key[at % 4]!)]);
}

function read(from: "agent" | "upstream", ...chunks: Buffer[]): Piece[] {
  const reader = new FrameReader(from);
  return chunks.flatMap((chunk) => [...reader.read(chunk)]);
}

/** The same whatever the pieces: whole messages, control frames, and how it ended. */
function messagesOf(pieces: readonly Piece[]): string[] {
  const messages: string[] = [];
  let open: Buffer[] = [];
  for (const piece of pieces) {
    if (piece.kind === "broken") messages.push(`broken ${piece.code} ${piece.why}`);
    else if (piece.kind !== "data") messages.push(`${piece.kind} ${piece.bytes.toString("hex")}`);
    else {
      open.push(piece.bytes);
      if (!piece.ends) continue;
      messages.push(`${piece.isText ? "text" : "binary"} ${Buffer.concat(open).toString("hex")}`);
      open = [];
    }
  }
  return messages;
}

describe("what breaks the protocol", () => {
  it.each<[string, number, Buffer]>([
    ["reserved bit 1", 1002, frame(0xc1, "x")],
    ["reserved bit 2", 1002, frame(0xa1, "x")],
    ["reserved bit 3", 1002, frame(0x91, "x")],
    ["a reserved bit of a ping", 1002, frame(0xc9)],
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((code): [string, number, Buffer] => [
      `opcode ${code}`,
      1002,
      frame(0x80 | code),
    ]),
    ["a continuation of nothing", 1002, frame(0x80, "x")],
    ["a continuation after the end", 1002, Buffer.concat([frame(0x82, "x"), frame(0x80, "y")])],
    ["a message inside another", 1002, Buffer.concat([frame(0x02, "x"), frame(0x82, "y")])],
    ["a fragmented ping", 1002, frame(0x09, "x")],
    ["a fragmented close", 1002, frame(0x08)],
    ["a ping of 126 bytes", 1002, frame(0x89, Buffer.alloc(126))],
    ["a pong of 65536 bytes", 1002, frame(0x8a, Buffer.alloc(65_536))],
    ["125 bytes in a length of 16 bits", 1002, frame(0x82, Buffer.alloc(125), [126, 0, 125])],
    ["nothing in a length of 64 bits", 1002, frame(0x82, "", [127, 0, 0, 0, 0, 0, 0, 0, 0])],
    [
      "65535 bytes in a length of 64 bits",
      1002,
      frame(0x82, Buffer.alloc(65_535), [127, 0, 0, 0, 0, 0, 0, 255, 255]),
    ],
    ["the highest bit of a length", 1002, frame(0x82, "", [127, 128, 0, 0, 0, 0, 0, 0, 0])],
    ["a length that nobody can count", 1009, frame(0x82, "", [127, 0, 32, 0, 0, 0, 0, 0, 0])],
    ["half a close code", 1002, frame(0x88, "\x03")],
    ...[0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map(
      (code): [string, number, Buffer] => [`close code ${code}`, 1002, frame(0x88, closePayload(code, ""))],
    ),
    ["a reason that is not UTF-8", 1007, frame(0x88, Buffer.from([0x03, 0xe8, 0xff]))],
    ["a reason that ends in a character", 1007, frame(0x88, Buffer.from([0x03, 0xe8, 0xc3]))],
    ["text that is not UTF-8", 1007, frame(0x81, Buffer.from([0xff]))],
    ["an overlong slash", 1007, frame(0x81, Buffer.from([0xc0, 0xaf]))],
    ["half of a surrogate pair", 1007, frame(0x81, Buffer.from([0xed, 0xa0, 0x80]))],
    ["a code point beyond the last", 1007, frame(0x81, Buffer.from([0xf4, 0x90, 0x80, 0x80]))],
    ["text that ends in a character", 1007, frame(0x81, Buffer.from([0xe2, 0x82]))],
    [
      "text that ends in a character, in fragments",
      1007,
      Buffer.concat([frame(0x01, Buffer.from([0xe2])), frame(0x80, Buffer.from([0x82]))]),
    ],
    [
      "a character that another message finishes",
      1007,
      Buffer.concat([frame(0x81, Buffer.from([0xc3])), frame(0x81, Buffer.from([0xa4]))]),
    ],
    ["a mask", 1002, maskedFrame(0x81, "x")],
  ])("is refused, and nothing after it is read: %s", (_name, code, bytes) => {
    const pieces = read("upstream", Buffer.concat([bytes, frame(0x81, "after")]));
    expect(pieces.at(-1)).toMatchObject({ kind: "broken", code });
    for (const size of [1, 2, 3]) {
      const reader = new FrameReader("upstream");
      const slow = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
        bytes.subarray(at * size, (at + 1) * size),
      ).flatMap((chunk) => [...reader.read(chunk)]);
      expect(messagesOf(slow)).toEqual(messagesOf(pieces));
      expect([...reader.read(frame(0x81, "after"))]).toEqual([]);
    }
  });

  it("is refused from an agent that does not mask", () => {
    expect(read("agent", frame(0x81, "x"))).toMatchObject([{ kind: "broken", code: 1002 }]);
  });

  it("is seen before the payload is there", () => {
    expect(read("upstream", Buffer.from([0xc1, 0x7f]))).toMatchObject([{ code: 1002 }]);
    expect(read("upstream", Buffer.from([0x89, 0x7e]))).toMatchObject([{ code: 1002 }]);
  });
});

describe("what is in order", () => {
  it.each([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999])(
    "is close code %i, after which nothing is read",
    (code) => {
      const bytes = Buffer.concat([frame(0x88, closePayload(code, "bye ü")), frame(0x81, "after")]);
      expect(read("upstream", bytes)).toEqual([{ kind: "close", bytes: closePayload(code, "bye ü") }]);
    },
  );

  it("is a close frame with nothing in it", () => {
    expect(messagesOf(read("agent", maskedFrame(0x88)))).toEqual(["close "]);
  });

  it.each([0, 1, 125, 126, 127, 65_535, 65_536, 70_000])("is a message of %i bytes", (size) => {
    const payload = Buffer.alloc(size, "ab");
    expect(messagesOf(read("upstream", frame(0x82, payload)))).toEqual([`binary ${payload.toString("hex")}`]);
    expect(messagesOf(read("agent", maskedFrame(0x81, payload)))).toEqual([
      `text ${payload.toString("hex")}`,
    ]);
  });

  it("is one piece where the whole message is there", () => {
    expect(read("upstream", frame(0x81, "hello"))).toEqual([
      { kind: "data", isText: true, bytes: Buffer.from("hello"), ends: true },
    ]);
  });

  it("is a ping between the fragments of a character", () => {
    const [first, second] = [Buffer.from([0xe2, 0x82]), Buffer.from([0xac])];
    const bytes = Buffer.concat([frame(0x01, first), frame(0x89, "hi"), frame(0x00), frame(0x80, second)]);
    expect(messagesOf(read("upstream", bytes))).toEqual(["ping 6869", "text e282ac"]);
  });
});

/** A message in fragments, with control frames between them. */
const message = fc.record({
  isText: fc.boolean(),
  text: fc.string({ unit: "grapheme", maxLength: 300 }),
  cuts: fc.array(fc.nat(400), { maxLength: 4 }),
  pings: fc.array(fc.uint8Array({ maxLength: 125 }), { maxLength: 3 }),
});

function split(data: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (data.length + 1)))].sort((a, b) => a - b);
  return [0, ...places].map((from, index) => data.subarray(from, places[index] ?? data.length));
}

describe("any segmentation of bytes", () => {
  it.each(["agent", "upstream"] as const)("gives the same messages from the %s", (from) => {
    const write = from === "agent" ? maskedFrame : frame;
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 5 }),
        fc.array(fc.nat(3000), { maxLength: 20 }),
        (messages, cuts) => {
          const expected: string[] = [];
          const frames = messages.flatMap(({ isText, text, cuts: fragments, pings }) => {
            const payload = Buffer.from(text);
            const parts = split(payload, fragments);
            expected.push(
              ...pings.slice(0, parts.length - 1).map((ping) => `ping ${Buffer.from(ping).toString("hex")}`),
              `${isText ? "text" : "binary"} ${payload.toString("hex")}`,
            );
            return parts.flatMap((part, at) => {
              const isLast = at === parts.length - 1;
              const opcode = at > 0 ? 0 : isText ? 1 : 2;
              const ping = isLast ? undefined : pings[at];
              return [
                write(opcode | (isLast ? 0x80 : 0), part),
                ...(ping === undefined ? [] : [write(0x89, Buffer.from(ping))]),
              ];
            });
          });
          expect(messagesOf(read(from, ...split(Buffer.concat(frames), cuts)))).toEqual(expected);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("of any bytes at all ends the same way", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.array(fc.constantFrom(0, 1, 2, 0x80, 0x81, 0x88, 0x89, 0xff)),
    );
    fc.assert(
      fc.property(bytes, fc.array(fc.nat(60)), (some, cuts) => {
        const data = Buffer.from(some);
        for (const from of ["agent", "upstream"] as const)
          expect(messagesOf(read(from, ...split(data, cuts)))).toEqual(messagesOf(read(from, data)));
      }),
      { numRuns: 2000 },
    );
  });
});

describe("frames that are written", () => {
  it("are read as they were meant, from either side", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 70_000 }), fc.boolean(), fc.boolean()), { maxLength: 8 }),
        fc.boolean(),
        (pieces, toUpstream) => {
          const writer = new FrameWriter(toUpstream ? "upstream" : "agent");
          const expected: string[] = [];
          let open = { isText: true, text: "", isNew: true };
          const frames = pieces.map(([size, isText, ends]) => {
            if (open.isNew) open = { isText, text: "", isNew: false };
            open.text += "x".repeat(size);
            const written = writer.data(Buffer.alloc(size, "x"), open.isText, ends);
            if (ends) {
              expected.push(`${open.isText ? "text" : "binary"} ${Buffer.from(open.text).toString("hex")}`);
              open.isNew = true;
            }
            return Buffer.concat([written, writer.control("ping", Buffer.from([size & 0xff]))]);
          });
          const seen = messagesOf(read(toUpstream ? "agent" : "upstream", Buffer.concat(frames)));
          expect(seen.filter((each) => !each.startsWith("ping"))).toEqual(expected);
          expect(seen.length - expected.length).toBe(pieces.length);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("are masked with another key each time", () => {
    const writer = new FrameWriter("upstream");
    const keys = Array.from({ length: 50 }, () =>
      writer.control("ping", Buffer.from("x")).subarray(2, 6).toString("hex"),
    );
    expect(new Set(keys).size).toBeGreaterThan(48);
  });

  it("hold of the reason of a close what fits, in whole characters", () => {
    for (const character of ["x", "é", "€", "\u{1f511}"])
      for (const before of ["", "a", "ab", "abc"]) {
        const payload = closePayload(1008, before + character.repeat(200));
        expect(payload.length).toBeGreaterThan(121);
        expect(read("upstream", new FrameWriter("agent").control("close", payload))).toEqual([
          { kind: "close", bytes: payload },
        ]);
      }
    expect(closePayload(1000, "").length).toBe(2);
  });

  it("are none where there is nothing to say yet", () => {
    const writer = new FrameWriter("agent");
    expect(writer.data(Buffer.alloc(0), true, false)).toHaveLength(0);
    expect(writer.data(Buffer.alloc(0), true, true).toString("hex")).toBe("8100");
  });
});
