// SPDX-License-Identifier: Apache-2.0
/** `KeyEncryption` by a master key that this process holds. */
import { createSecretKey, hkdfSync } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { Fault } from "../kernel/fault.ts";
import { decrypt, encrypt, KEY_BYTES, NONCE_BYTES, TAG_BYTES } from "./aes-gcm.ts";
import type { KeyEncryption } from "./key-encryption.ts";

/** Takes over `bytes` and overwrites them. */
export function masterKey(bytes: Buffer): KeyEncryption {
  if (bytes.length !== KEY_BYTES) {
    throw new Fault("internal_error", `a master key has ${KEY_BYTES} bytes, this one has ${bytes.length}`);
  }
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return {
    id: fingerprint(key),
    wrap: async (dataKey, context) => encrypt(key, dataKey, context),
    async unwrap(wrapped, context) {
      if (wrapped.length !== NONCE_BYTES + KEY_BYTES + TAG_BYTES)
        throw new RangeError("not a wrapped data key");
      return decrypt(key, wrapped, context);
    },
  };
}

/** One-way (RFC 5869): the id says nothing about the key. */
function fingerprint(key: KeyObject): string {
  return `mk-${Buffer.from(hkdfSync("sha256", key, "", "postern master key id", 12)).toString("hex")}`;
}
