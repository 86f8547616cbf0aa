// SPDX-License-Identifier: Apache-2.0
/** Is a text UTF-8, whatever the pieces in which it comes? */
import { isUtf8 } from "node:buffer";

const NOTHING = Buffer.alloc(0);

/** One text's state. */
export class Utf8Check {
  /** The beginning of a character whose rest has not come: three bytes at most. */
  #open: Buffer = NOTHING;

  /** False where the text cannot be UTF-8 any more, or `ends` within a character. */
  accepts(bytes: Buffer, ends: boolean): boolean {
    const data = this.#open.length === 0 ? bytes : Buffer.concat([this.#open, bytes]);
    const whole = ends ? data.length : data.length - openEnd(data);
    this.#open = whole === data.length ? NOTHING : Buffer.from(data.subarray(whole));
    return isUtf8(data.subarray(0, whole));
  }
}

/** How many bytes at the end begin a character and do not finish it (RFC 3629 §3). */
function openEnd(data: Buffer): number {
  for (let back = 1; back <= 3 && back <= data.length; back++) {
    const byte = data[data.length - back]!;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}
