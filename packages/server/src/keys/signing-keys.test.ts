// SPDX-License-Identifier: Apache-2.0
import { createPublicKey, generateKeyPairSync, randomBytes, verify } from "node:crypto";
import { inspect } from "node:util";
import { beforeEach, describe, expect, test } from "vitest";
import { masterKey } from "./master-key.ts";
import { ecdsaSigningKey, ed25519SigningKey } from "./signing-keys.ts";
import type { SealedKeyStore, StoredKey } from "./signing-keys.ts";

const keys = masterKey(randomBytes(32));
const message = Buffer.from("checkpoint 7");
let rows: Map<string, StoredKey>;
let store: SealedKeyStore;
beforeEach(() => {
  rows = new Map();
  store = {
    get: async (name) => rows.get(name),
    async putIfAbsent(key) {
      if (!rows.has(key.name)) rows.set(key.name, key);
      return rows.get(key.name)!;
    },
  };
});

describe("a signing key", () => {
  test("whose public part was exchanged in the store is refused", async () => {
    await ed25519SigningKey("audit", store, keys);
    const publicKey = generateKeyPairSync("ed25519").publicKey.export({ format: "der", type: "spki" });
    rows.set("audit", { ...rows.get("audit")!, publicKey });
    await expect(ed25519SigningKey("audit", store, keys)).rejects.toThrow("public part of key audit");
  });

  test("does not open under the name of another", async () => {
    await ed25519SigningKey("audit", store, keys);
    rows.set("other", { ...rows.get("audit")!, name: "other" });
    await expect(ed25519SigningKey("other", store, keys)).rejects.toThrow("altered or moved");
  });

  test("of one algorithm is not used for the other", async () => {
    await ed25519SigningKey("k", store, keys);
    await expect(ecdsaSigningKey("k", store, keys)).rejects.toThrow("key k");
  });

  test("does not open under another master key, and is not replaced then", async () => {
    const { publicKey } = await ed25519SigningKey("audit", store, keys);
    await expect(ed25519SigningKey("audit", store, masterKey(randomBytes(32)))).rejects.toThrow(
      "wrong master key",
    );
    expect((await ed25519SigningKey("audit", store, keys)).publicKey).toEqual(publicKey);
  });

  test("is one and the same for all who ask at once, and later", async () => {
    const asked = await Promise.all(Array.from({ length: 4 }, () => ecdsaSigningKey("ca", store, keys)));
    const later = await ecdsaSigningKey("ca", store, keys);
    for (const { spki } of asked) expect(spki).toEqual(later.spki);
  });

  test("Ed25519 signs so that its raw public key verifies", async () => {
    const key = await ed25519SigningKey("audit", store, keys);
    expect(key.publicKey).toHaveLength(32);
    const x = key.publicKey.toString("base64url");
    const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
    expect(verify(null, message, publicKey, key.sign(message))).toBe(true);
    expect(verify(null, Buffer.from("checkpoint 8"), publicKey, key.sign(message))).toBe(false);
  });

  test("P-256 signs in DER so that its public key verifies", async () => {
    const key = await ecdsaSigningKey("ca", store, keys);
    const publicKey = createPublicKey({ key: key.spki, format: "der", type: "spki" });
    expect(publicKey.equals(key.publicKey)).toBe(true);
    expect(publicKey.asymmetricKeyDetails).toEqual({ namedCurve: "prime256v1" });
    const signature = key.sign(message);
    expect(signature[0]).toBe(0x30);
    expect(verify("sha256", message, publicKey, signature)).toBe(true);
    // RFC 7518 §3.4: 64 bytes, whatever the numbers are.
    for (let round = 0; round < 50; round++) {
      const jose = key.signJose(message);
      expect(jose).toHaveLength(64);
      expect(verify("sha256", message, { key: publicKey, dsaEncoding: "ieee-p1363" }, jose)).toBe(true);
    }
  });

  test("is stored sealed only and cannot be printed", async () => {
    const key = await ed25519SigningKey("audit", store, keys);
    // The prefix of every Ed25519 PKCS8 (RFC 8410 §7) would show an unsealed key.
    const prefix = Buffer.from("302e020100300506032b657004220420", "hex");
    expect(rows.get("audit")!.sealed.includes(prefix)).toBe(false);
    expect(inspect(key, { depth: 9 })).not.toMatch(/PRIVATE|privateKey/);
    expect(JSON.stringify(key)).not.toContain("private");
  });
});
