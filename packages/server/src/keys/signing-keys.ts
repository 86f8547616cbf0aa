// SPDX-License-Identifier: Apache-2.0
/** The server's own signing keys: made once, sealed in the store, in memory only as `KeyObject`. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { Fault } from "../kernel/fault.ts";
import { Secret } from "../kernel/secret.ts";
import type { KeyEncryption } from "./key-encryption.ts";
import { open, seal } from "./seal.ts";

/** What this module needs of a key store; `main` passes one. */
export interface SealedKeyStore {
  get(name: string): Promise<StoredKey | undefined>;
  /** The key that is stored afterwards: the one that came first wins. */
  putIfAbsent(key: StoredKey): Promise<StoredKey>;
}

export interface StoredKey {
  readonly name: string;
  readonly algorithm: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Buffer;
  readonly sealed: Buffer;
  readonly keyId: string;
}

/** Ed25519 (RFC 8032): audit checkpoints. */
export interface Ed25519SigningKey {
  readonly name: string;
  /** Raw, 32 bytes. */
  readonly publicKey: Buffer;
  sign(bytes: Uint8Array): Buffer;
}

/** ECDSA on P-256 with SHA-256 (FIPS 186-5): certificates. */
export interface EcdsaSigningKey {
  readonly name: string;
  readonly publicKey: KeyObject;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Buffer;
  /** Ecdsa-Sig-Value, DER (RFC 3279 §2.2.3). */
  sign(bytes: Uint8Array): Buffer;
  /** The same signature as 64 bytes, r ‖ s (RFC 7518 §3.4). */
  signJose(bytes: Uint8Array): Buffer;
}

type Algorithm = "ed25519" | "ecdsa-p256";

/** The key of this name, made at the first call. */
export async function ed25519SigningKey(
  name: string,
  store: SealedKeyStore,
  keys: KeyEncryption,
): Promise<Ed25519SigningKey> {
  const { privateKey, spki } = await getOrCreate(name, "ed25519", store, keys);
  // The last 32 bytes of the DER are the key itself (RFC 8410 §4).
  const publicKey = Buffer.from(spki.subarray(-32));
  return { name, publicKey, sign: (bytes) => sign(null, bytes, privateKey) };
}

/** The key of this name, made at the first call. */
export async function ecdsaSigningKey(
  name: string,
  store: SealedKeyStore,
  keys: KeyEncryption,
): Promise<EcdsaSigningKey> {
  const { privateKey, spki } = await getOrCreate(name, "ecdsa-p256", store, keys);
  const publicKey = createPublicKey(privateKey);
  const jose = { key: privateKey, dsaEncoding: "ieee-p1363" } as const;
  return {
    name,
    publicKey,
    spki,
    sign: (bytes) => sign("sha256", bytes, privateKey),
    signJose: (bytes) => sign("sha256", bytes, jose),
  };
}

async function getOrCreate(name: string, algorithm: Algorithm, store: SealedKeyStore, keys: KeyEncryption) {
  const stored = (await store.get(name)) ?? (await store.putIfAbsent(await generate(name, algorithm, keys)));
  const pkcs8 = await open(stored, identityOf(name), keys);
  try {
    const key = pkcs8.expose("sign");
    const privateKey = createPrivateKey({ key, format: "der", type: "pkcs8" });
    const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
    // The public part is not encrypted: what was published must be what we sign with.
    if (!spki.equals(stored.publicKey) || algorithmOf(privateKey) !== algorithm) {
      throw new Fault(
        "internal_error",
        `the stored public part of key ${name} is not that of its private key: restore a backup`,
      );
    }
    return { privateKey, spki };
  } finally {
    pkcs8.wipe();
  }
}

async function generate(name: string, algorithm: Algorithm, keys: KeyEncryption): Promise<StoredKey> {
  const { privateKey, publicKey } =
    algorithm === "ed25519"
      ? generateKeyPairSync("ed25519")
      : generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const pkcs8 = new Secret(privateKey.export({ format: "der", type: "pkcs8" }));
  try {
    const { sealed, keyId } = await seal(pkcs8, identityOf(name), keys);
    return { name, algorithm, publicKey: publicKey.export({ format: "der", type: "spki" }), sealed, keyId };
  } finally {
    pkcs8.wipe();
  }
}

const identityOf = (name: string) => ({ table: "sealed_keys", name, version: 1 });

function algorithmOf(key: KeyObject): Algorithm | undefined {
  if (key.asymmetricKeyType === "ed25519") return "ed25519";
  return key.asymmetricKeyDetails?.namedCurve === "prime256v1" ? "ecdsa-p256" : undefined;
}
