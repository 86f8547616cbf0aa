// SPDX-License-Identifier: Apache-2.0
/**
 * Signs messages and tells whether one is signed, as Slack does ("v0"): HMAC-SHA256 over version, time and body, with a
 * key that both sides have.
 */
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from "node:crypto";
import { type Result, ok, refuse } from "../kernel/result.ts";
import type { Secret } from "../kernel/secret.ts";

export interface SignedMessage {
  /** Seconds since 1970, as it was sent. */
  readonly timestamp: string | undefined;
  /** `v0=` and hex. */
  readonly signature: string | undefined;
  readonly body: Buffer;
}

/** Seconds by which the time of a message may differ from ours. */
export const WINDOW = 300;

export class MessageKey {
  readonly #key: KeyObject;

  constructor(secret: Secret) {
    if (secret.length < 16) throw new RangeError("a signing secret has 16 characters or more");
    this.#key = createSecretKey(secret.expose("sign"));
  }

  sign(timestamp: number, body: Buffer): string {
    return `v0=${this.#digest(String(timestamp), body).toString("hex")}`;
  }

  /** Says not more than that it is not good: what exactly is wrong would teach how to forge it. */
  verify({ body, signature, timestamp }: SignedMessage, now: number): Result<undefined, "not_signed"> {
    // A time in another spelling would be another text under the same window.
    if (timestamp === undefined || !/^[1-9]\d{0,11}$/.test(timestamp)) return refuse("not_signed");
    if (Math.abs(now / 1000 - Number(timestamp)) > WINDOW) return refuse("not_signed");
    const hex = /^v0=([0-9a-f]{64})$/.exec(signature ?? "")?.[1];
    if (hex === undefined) return refuse("not_signed");
    return timingSafeEqual(Buffer.from(hex, "hex"), this.#digest(timestamp, body))
      ? ok(undefined)
      : refuse("not_signed");
  }

  #digest(timestamp: string, body: Buffer): Buffer {
    return createHmac("sha256", this.#key).update(`v0:${timestamp}:`).update(body).digest();
  }
}
