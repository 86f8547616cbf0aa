// SPDX-License-Identifier: Apache-2.0
/** Identifiers: UUIDv7 (RFC 9562 §5.7), so that they sort by time in every store. */
import { randomBytes } from "node:crypto";
import type { Instant } from "./clock.ts";

/** A new UUIDv7 for the instant `now`. */
export function newId(now: Instant): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(now, 0, 6);
  bytes[6] = 0x70 | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

const RUN_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789";

/** A short random name (12 characters, 59 bits) for things that stand in socket paths, such as runs. */
export function newShortId(): string {
  let id = "";
  while (id.length < 12) {
    for (const byte of randomBytes(16)) {
      const character = RUN_ALPHABET[byte & 31];
      if (character !== undefined && id.length < 12) id += character;
    }
  }
  return id;
}
