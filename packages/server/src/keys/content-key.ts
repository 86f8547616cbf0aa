// SPDX-License-Identifier: Apache-2.0
/**
 * A key of the server's own under which it encrypts content that is no secret of the vault, such as requests that wait.
 *
 * The key is sealed in the store like every other and moves with the master key; what it encrypted stays as it is.
 */
import { createSecretKey, randomBytes } from "node:crypto";
import { Secret } from "../kernel/secret.ts";
import { decrypt, encrypt, KEY_BYTES } from "./aes-gcm.ts";
import type { KeyRing } from "./key-ring.ts";
import { open, seal } from "./seal.ts";
import type { SealedKeyStore } from "./signing-keys.ts";

export interface ContentKey {
  /** `place` names what the content belongs to: it opens for that alone. */
  encrypt(content: Buffer, place: string): Buffer;
  /** Throws where a bit differs, or the place. */
  decrypt(bytes: Buffer, place: string): Buffer;
}

/** The key of this name, made at the first call. */
export async function contentKey(name: string, store: SealedKeyStore, keys: KeyRing): Promise<ContentKey> {
  const identity = { table: "sealed_keys", name, version: 1 };
  const stored = (await store.get(name)) ?? (await store.putIfAbsent(await generate(name, keys)));
  const bytes = await open(stored, identity, keys.opening(stored.keyId));
  const key = createSecretKey(bytes.expose("encrypt"));
  bytes.wipe();
  const associated = (place: string): Buffer =>
    Buffer.from(JSON.stringify(["postern content", 1, name, place]));
  return {
    encrypt: (content, place) => encrypt(key, content, associated(place)),
    decrypt: (sealed, place) => decrypt(key, sealed, associated(place)),
  };
}

async function generate(name: string, keys: KeyRing) {
  const key = new Secret(randomBytes(KEY_BYTES));
  try {
    const sealed = await seal(key, { table: "sealed_keys", name, version: 1 }, keys.current);
    return { name, algorithm: "aes-256-gcm", publicKey: Buffer.alloc(0), ...sealed };
  } finally {
    key.wipe();
  }
}
