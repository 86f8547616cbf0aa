// SPDX-License-Identifier: Apache-2.0
/**
 * Which messages stand in these bytes? Reads WebSocket frames (RFC 6455 §5) as they come, strictly.
 *
 * Of a message it gives pieces and keeps none, so memory does not grow with what is sent; of a control frame
 * it gives the whole, which has 125 bytes at most. What breaks the protocol is the last thing it gives.
 */
import { Utf8Check } from "./utf8-check.ts";

export type Piece =
  | {
      readonly kind: "data";
      readonly isText: boolean;
      readonly bytes: Buffer;
      /** Whether the message ends with these bytes. */
      readonly ends: boolean;
    }
  | { readonly kind: "ping" | "pong"; readonly bytes: Buffer }
  | { readonly kind: "close"; readonly bytes: Buffer }
  /** To be closed with this code (RFC 6455 §7.4.1); nothing follows. */
  | { readonly kind: "broken"; readonly code: number; readonly why: string };

type Broken = Extract<Piece, { kind: "broken" }>;

/** RFC 6455 §5.2. */
export const OPCODES = {
  continuation: 0x0,
  text: 0x1,
  binary: 0x2,
  close: 0x8,
  ping: 0x9,
  pong: 0xa,
} as const;
export const MOST_CONTROL_BYTES = 125;
const CONTROL_KINDS = new Map<number, "close" | "ping" | "pong">([
  [OPCODES.close, "close"],
  [OPCODES.ping, "ping"],
  [OPCODES.pong, "pong"],
]);
const LONGEST_HEAD = 14;

interface Frame {
  readonly opcode: number;
  readonly isFinal: boolean;
  readonly mask: Buffer | undefined;
  /** Payload that has come. */
  read: number;
  readonly length: number;
}

const broken = (code: number, why: string): Broken => ({ kind: "broken", code, why });

export class FrameReader {
  /** Agents must mask what they send, servers must not (§5.1). */
  readonly #isMasked: boolean;
  readonly #head = Buffer.alloc(LONGEST_HEAD);
  #headLength = 0;
  #frame: Frame | undefined;
  readonly #control = Buffer.alloc(MOST_CONTROL_BYTES);
  /** The message whose end has not come yet. */
  #message: { readonly utf8: Utf8Check | undefined } | undefined;
  #isOver = false;

  constructor(from: "agent" | "upstream") {
    this.#isMasked = from === "agent";
  }

  /** Reads on while it is asked for more: take all of it before the next bytes. */
  *read(chunk: Buffer): Generator<Piece, void> {
    let at = 0;
    while (!this.#isOver) {
      if (this.#frame === undefined) {
        const taken = this.#readHead(chunk, at);
        at = taken.at;
        if (taken.broken !== undefined) yield this.#stop(taken.broken);
        if (this.#frame === undefined) return;
      }
      const frame: Frame = this.#frame;
      const part = chunk.subarray(at, at + frame.length - frame.read);
      if (part.length === 0 && frame.length > 0) return;
      at += part.length;
      const bytes = frame.mask === undefined ? part : masked(part, frame.mask, frame.read);
      frame.read += part.length;
      const piece = CONTROL_KINDS.has(frame.opcode)
        ? this.#readControl(frame, bytes)
        : this.#readData(frame, bytes);
      if (frame.read === frame.length) this.#frame = undefined;
      if (piece?.kind === "broken" || piece?.kind === "close") yield this.#stop(piece);
      else if (piece !== undefined) yield piece;
    }
  }

  /** Nothing that follows means anything (§5.5.1, §7.1.7). */
  #stop<P extends Piece>(last: P): P {
    this.#isOver = true;
    return last;
  }

  #readHead(chunk: Buffer, from: number): { at: number; broken?: Broken } {
    const head = this.#head;
    let at = from;
    while (at < chunk.length) {
      head[this.#headLength++] = chunk[at++]!;
      if (this.#headLength < 2) continue;
      const wrong = this.#headLength === 2 ? this.#wrongStart() : undefined;
      if (wrong !== undefined) return { at, broken: wrong };
      const wanted = this.#wantedHead();
      if (this.#headLength < wanted - (this.#isMasked ? 4 : 0)) continue;
      // As soon as it is there: a wrong one does not wait for the mask behind it.
      const length = payloadLength(head);
      if (typeof length !== "number") return { at, broken: length };
      if (this.#headLength < wanted) continue;
      this.#headLength = 0;
      const mask = this.#isMasked
        ? Buffer.from(head.subarray(this.#wantedHead() - 4, this.#wantedHead()))
        : undefined;
      this.#frame = { opcode: head[0]! & 0x0f, isFinal: (head[0]! & 0x80) !== 0, mask, read: 0, length };
      return { at };
    }
    return { at };
  }

  #wantedHead(): number {
    const short = this.#head[1]! & 0x7f;
    return 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + (this.#isMasked ? 4 : 0);
  }

  /** What the first two bytes can have wrong. */
  #wrongStart(): Broken | undefined {
    const [first, second] = [this.#head[0]!, this.#head[1]!];
    const opcode = first & 0x0f;
    if ((first & 0x70) !== 0) return broken(1002, "a reserved bit is set");
    if (((second & 0x80) !== 0) !== this.#isMasked)
      return broken(1002, this.#isMasked ? "a frame is not masked" : "a frame is masked");
    if (CONTROL_KINDS.has(opcode)) {
      if ((first & 0x80) === 0) return broken(1002, "a control frame is fragmented");
      if (opcode === 8 && (second & 0x7f) === 1) return broken(1002, "a close frame holds half a code");
      return (second & 0x7f) > MOST_CONTROL_BYTES ? broken(1002, "a control frame is too long") : undefined;
    }
    if (opcode > OPCODES.binary) return broken(1002, "an opcode is reserved");
    if ((opcode === OPCODES.continuation) === (this.#message === undefined))
      return broken(
        1002,
        opcode === OPCODES.continuation
          ? "there is no message to continue"
          : "a message begins inside another",
      );
    return undefined;
  }

  #readControl(frame: Frame, bytes: Buffer): Piece | undefined {
    bytes.copy(this.#control, frame.read - bytes.length);
    if (frame.read < frame.length) return undefined;
    const payload = Buffer.from(this.#control.subarray(0, frame.length));
    const kind = CONTROL_KINDS.get(frame.opcode)!;
    return (kind === "close" ? wrongClose(payload) : undefined) ?? { kind, bytes: payload };
  }

  #readData(frame: Frame, bytes: Buffer): Piece | undefined {
    this.#message ??= { utf8: frame.opcode === OPCODES.text ? new Utf8Check() : undefined };
    const { utf8 } = this.#message;
    const ends = frame.isFinal && frame.read === frame.length;
    if (utf8?.accepts(bytes, ends) === false) return broken(1007, "a text message is not UTF-8");
    if (ends) this.#message = undefined;
    return bytes.length === 0 && !ends
      ? undefined
      : { kind: "data", isText: utf8 !== undefined, bytes, ends };
  }
}

/** Length of the payload; it must be written in the shortest way (§5.2). */
function payloadLength(head: Buffer): number | Broken {
  const short = head[1]! & 0x7f;
  if (short < 126) return short;
  if (short === 126) {
    const length = head.readUInt16BE(2);
    return length < 126 ? broken(1002, "a length is not written in the shortest way") : length;
  }
  const length = head.readBigUInt64BE(2);
  if (length < 65_536n) return broken(1002, "a length is not written in the shortest way");
  if (length >= 1n << 63n) return broken(1002, "a length has its highest bit set");
  // Nothing is collected, so any length that can be counted to the byte will do.
  return length > Number.MAX_SAFE_INTEGER ? broken(1009, "a frame is too long") : Number(length);
}

/** §5.5.1 and §7.4: nothing, or a code that may be sent, and a reason in UTF-8. */
function wrongClose(payload: Buffer): Broken | undefined {
  if (payload.length === 0) return undefined;
  if (!mayBeSent(payload.readUInt16BE(0))) return broken(1002, "a close code is not one that may be sent");
  return new Utf8Check().accepts(payload.subarray(2), true)
    ? undefined
    : broken(1007, "the reason of a close frame is not UTF-8");
}

/** RFC 6455 §7.4.1 and §7.4.2, and what IANA has registered since, 1012 to 1014. */
const mayBeSent = (code: number): boolean =>
  (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);

/** Masks, or takes the mask off (§5.3); `offset` is where in the payload the bytes stand. */
export function masked(bytes: Buffer, mask: Buffer, offset = 0): Buffer {
  const out = Buffer.allocUnsafe(bytes.length);
  for (let at = 0; at < bytes.length; at++) out[at] = bytes[at]! ^ mask[(offset + at) & 3]!;
  return out;
}
