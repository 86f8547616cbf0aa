// SPDX-License-Identifier: Apache-2.0
/**
 * Writes WebSocket frames (RFC 6455 §5.2). A message may leave in other frames than it came in: no extension
 * was agreed on, so its fragments carry no meaning (§5.4).
 */
import { randomFillSync } from "node:crypto";
import { masked, MOST_CONTROL_BYTES, OPCODES } from "./frame-reader.ts";

const NOTHING = Buffer.alloc(0);

export class FrameWriter {
  readonly #masks: boolean;
  #isInMessage = false;

  constructor(to: "agent" | "upstream") {
    this.#masks = to === "upstream";
  }

  /** The next piece of a message; nothing where there is nothing to say yet. */
  data(bytes: Buffer, isText: boolean, ends: boolean): Buffer {
    if (bytes.length === 0 && !ends) return NOTHING;
    const opcode = this.#isInMessage ? OPCODES.continuation : isText ? OPCODES.text : OPCODES.binary;
    this.#isInMessage = !ends;
    return this.#frame(opcode, bytes, ends);
  }

  control(kind: "close" | "ping" | "pong", bytes: Buffer): Buffer {
    return this.#frame(OPCODES[kind], bytes, true);
  }

  #frame(opcode: number, bytes: Buffer, isFinal: boolean): Buffer {
    const { length } = bytes;
    const wide = length < 126 ? 0 : length < 65_536 ? 2 : 8;
    const head = Buffer.alloc(2 + wide + (this.#masks ? 4 : 0));
    head[0] = opcode | (isFinal ? 0x80 : 0);
    head[1] = (wide === 0 ? length : wide === 2 ? 126 : 127) | (this.#masks ? 0x80 : 0);
    if (wide === 2) head.writeUInt16BE(length, 2);
    if (wide === 8) head.writeBigUInt64BE(BigInt(length), 2);
    if (!this.#masks) return Buffer.concat([head, bytes]);
    // A fresh key that nobody can foresee for every frame (§5.3).
    const mask = randomFillSync(head.subarray(2 + wide));
    return Buffer.concat([head, masked(bytes, mask)]);
  }
}

/** The payload of a close frame; of the reason as much as a control frame holds, in whole characters. */
export function closePayload(code: number, reason: string): Buffer {
  const text = Buffer.from(reason);
  let end = Math.min(text.length, MOST_CONTROL_BYTES - 2);
  while (end < text.length && (text[end]! & 0xc0) === 0x80) end--;
  const payload = Buffer.alloc(2 + end);
  payload.writeUInt16BE(code);
  text.copy(payload, 2, 0, end);
  return payload;
}
