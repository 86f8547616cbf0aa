// SPDX-License-Identifier: Apache-2.0
/** AES-256-GCM (NIST SP 800-38D) as `nonce ‖ ciphertext ‖ tag`, with a fresh random nonce each time. */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import type { KeyObject } from "node:crypto";

export const KEY_BYTES = 32;
/** §5.2.1.1 recommends 96 bits. */
export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;

export function encrypt(key: Buffer | KeyObject, plaintext: Buffer, associated: Buffer): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(associated);
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** Throws where a single bit of the bytes, of the key or of the associated data differs. */
export function decrypt(key: Buffer | KeyObject, bytes: Buffer, associated: Buffer): Buffer {
  if (bytes.length < NONCE_BYTES + TAG_BYTES) throw new RangeError("too short for AES-256-GCM");
  const nonce = bytes.subarray(0, NONCE_BYTES);
  // Without a fixed length Node accepts tags of 4 bytes, which can be forged.
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(associated);
  decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
  const plaintext = decipher.update(bytes.subarray(NONCE_BYTES, bytes.length - TAG_BYTES));
  try {
    decipher.final();
    return plaintext;
  } catch (error) {
    plaintext.fill(0);
    throw error;
  }
}
