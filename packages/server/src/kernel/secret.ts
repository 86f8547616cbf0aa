// SPDX-License-Identifier: Apache-2.0
/**
 * Secret bytes in memory, in a type that cannot be printed.
 *
 * `toString`, `toJSON`, `util.inspect` and string concatenation all give `[redacted]`; a structured clone
 * is empty. The bytes come out through `expose` only, whose argument makes every reader findable.
 */
import { inspect } from "node:util";

const REDACTED = "[redacted]";

/** Why plain bytes are needed; the closed list of places that may ask. */
export type ExposePurpose = "inject" | "scrub" | "encrypt" | "sign" | "connect" | "issue";

export class Secret {
  readonly #bytes: Buffer;

  /** Takes over `bytes`: the caller must not keep or change them. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  static fromUtf8(text: string): Secret {
    return new Secret(Buffer.from(text, "utf8"));
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** The plain bytes. Never put them in a string that outlives the call, an error, a log or an event. */
  expose(_purpose: ExposePurpose): Buffer {
    return this.#bytes;
  }

  /** Overwrites the bytes; the secret is empty noise afterwards. */
  wipe(): void {
    this.#bytes.fill(0);
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [Symbol.toPrimitive](): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}
