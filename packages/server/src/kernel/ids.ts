// SPDX-License-Identifier: Apache-2.0
/** Identifiers: UUIDv7 (RFC 9562 §5.7), so that they sort by time in every store. */
import { randomBytes, randomFillSync } from "node:crypto";
import type { Instant } from "./clock.ts";

/** Chance for many ids at a time: asking for it costs ten times what an id does. */
const pool = Buffer.alloc(10 * 256);
let used = pool.length;

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** A new UUIDv7 for the instant `now`. */
export function newId(now: Instant): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const time = now.toString(16).padStart(12, "0");
  const at = used;
  used += 10;
  const hex = (index: number): string => HEX[pool[at + index]!]!;
  const version = HEX[0x70 | (pool[at]! & 0x0f)]!;
  const variant = HEX[0x80 | (pool[at + 2]! & 0x3f)]!;
  const rest = hex(4) + hex(5) + hex(6) + hex(7) + hex(8) + hex(9);
  return `${time.slice(0, 8)}-${time.slice(8)}-${version}${hex(1)}-${variant}${hex(3)}-${rest}`;
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
