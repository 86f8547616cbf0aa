// SPDX-License-Identifier: Apache-2.0
/** Are frames read as somebody else reads them, or refused, and is what is written anew what was read? */
import type { Writable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import * as ws from "ws";
import { FrameReader, type Piece } from "../../packages/server/src/gateway/websocket/frame-reader.ts";
import { FrameWriter } from "../../packages/server/src/gateway/websocket/frame-writer.ts";
import { Choices } from "../choices.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

/** Part of `ws`, though not of its types. */
const { Receiver } = ws as unknown as { Receiver: new (options: { isServer: boolean }) => Writable };

interface Heard {
  readonly messages: string[];
  broken: string | undefined;
}

const hex = (bytes: Buffer): string => bytes.toString("hex");

async function theirs(bytes: Buffer, isServer: boolean): Promise<Heard> {
  const heard: Heard = { messages: [], broken: undefined };
  const receiver = new Receiver({ isServer });
  const say = (line: string): void => void heard.messages.push(line);
  receiver.on("message", (data: Buffer, isBinary: boolean) =>
    say(`${isBinary ? "binary" : "text"} ${hex(data)}`),
  );
  receiver.on("ping", (data: Buffer) => say(`ping ${hex(data)}`));
  receiver.on("pong", (data: Buffer) => say(`pong ${hex(data)}`));
  receiver.on("conclude", (code: number, reason: Buffer) => say(`close ${code} ${hex(reason)}`));
  receiver.on("error", (error: Error) => (heard.broken = error.message));
  if (bytes.length > 0) receiver.write(bytes);
  await nextTurn();
  return heard;
}

function piecesOf(pieces: readonly Buffer[], from: "agent" | "upstream"): Piece[] {
  const reader = new FrameReader(from);
  return pieces.flatMap((piece) => [...reader.read(piece)]);
}

function ours(pieces: readonly Piece[]): Heard {
  const heard: Heard = { messages: [], broken: undefined };
  let open: Buffer[] = [];
  for (const piece of pieces) {
    if (piece.kind === "broken") heard.broken = piece.why;
    else if (piece.kind === "close") {
      // An empty one is told as 1005, which no frame can hold (RFC 6455 §7.1.5).
      const code = piece.bytes.length === 0 ? 1005 : piece.bytes.readUInt16BE(0);
      heard.messages.push(`close ${code} ${hex(piece.bytes.subarray(2))}`);
    } else if (piece.kind !== "data") heard.messages.push(`${piece.kind} ${hex(piece.bytes)}`);
    else {
      open.push(piece.bytes);
      if (!piece.ends) continue;
      heard.messages.push(`${piece.isText ? "text" : "binary"} ${hex(Buffer.concat(open))}`);
      open = [];
    }
  }
  return heard;
}

function rewritten(pieces: readonly Piece[], from: "agent" | "upstream"): Buffer {
  const writer = new FrameWriter(from === "agent" ? "upstream" : "agent");
  return Buffer.concat(
    pieces.map((piece) => {
      if (piece.kind === "broken") return Buffer.alloc(0);
      return piece.kind === "data"
        ? writer.data(piece.bytes, piece.isText, piece.ends)
        : writer.control(piece.kind, piece.bytes);
    }),
  );
}

/** What is refused here and read there: another spelling of a length, and text that cannot become UTF-8 any more. */
const STRICTER = /shortest way|not UTF-8/;

/** The first 8 bytes choose the side and the cuts. */
async function check(input: Buffer): Promise<void> {
  const choose = new Choices(input.subarray(0, 8));
  const bytes = input.subarray(8);
  const from = choose.pick(["agent", "upstream"] as const);
  const cuts: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = choose.isOver ? 5 : 1 + choose.below(20);
    cuts.push(bytes.subarray(at, at + size));
    at += size;
  }
  const pieces = piecesOf([bytes], from);
  const read = ours(pieces);
  demandEqual(ours(piecesOf(cuts, from)), read, "cut into pieces");
  const other = await theirs(bytes, from === "agent");
  if (read.broken === undefined) {
    demandEqual(other, read, "what ws reads");
  } else {
    demandEqual(other.messages.slice(0, read.messages.length), read.messages, "what ws reads before that");
    demand(other.broken !== undefined || STRICTER.test(read.broken), `ws does not mind: ${read.broken}`);
  }
  const again = await theirs(rewritten(pieces, from), from === "agent");
  demandEqual(
    again,
    { messages: read.messages, broken: undefined },
    "what ws reads of what was written anew",
  );
}

/** A frame, mostly as it should be. */
function frame(choose: Choices, isMasked: boolean): Buffer {
  const payload = choose.pick([
    choose.bytes(20),
    Buffer.from("héllo €\u{1f511}").subarray(choose.below(4), 5 + choose.below(12)),
    Buffer.from([0x03, 0xe8 + choose.below(20), ...Buffer.from("bye")]).subarray(0, choose.below(6)),
    Buffer.alloc(120 + choose.below(12), "x"),
  ]);
  const first = choose.pick([0x81, 0x01, 0x00, 0x80, 0x82, 0x02, 0x89, 0x8a, 0x88, choose.below(256)]);
  const { length } = payload;
  const width = choose.once(16) ? choose.below(3) : length < 126 ? 0 : 1;
  const head = [first, (isMasked !== choose.once(32) ? 0x80 : 0) | [length & 0x7f, 126, 127][width]!];
  if (width === 1) head.push(length >> 8, length & 0xff);
  if (width === 2)
    head.push(choose.once(4) ? choose.below(256) : 0, 0, 0, 0, 0, 0, length >> 8, length & 0xff);
  const key = [...Buffer.concat([choose.bytes(4), Buffer.alloc(4)]).subarray(0, 4)];
  if (!isMasked) return Buffer.concat([Buffer.from(head), payload]);
  return Buffer.concat([Buffer.from([...head, ...key]), payload.map((byte, at) => byte ^ key[at % 4]!)]);
}

const target: FuzzTarget = {
  parsers: [
    "packages/server/src/gateway/websocket/frame-reader.ts",
    "packages/server/src/gateway/websocket/frame-writer.ts",
    "packages/server/src/gateway/websocket/utf8-check.ts",
  ],
  property:
    "However frames are cut, the messages are those that ws reads, or the rest is refused; what is written anew ws reads as the same.",
  make: (choose) => {
    const side = choose.below(2);
    const cuts = Array.from({ length: 7 }, () => choose.below(20));
    return Buffer.concat([Buffer.from([side, ...cuts]), ...choose.list(8, () => frame(choose, side === 0))]);
  },
  check,
};
export default target;
