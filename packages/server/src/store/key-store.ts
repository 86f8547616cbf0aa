// SPDX-License-Identifier: Apache-2.0
/** Where sealed private keys lie, each with its public part. */
import type { Instant } from "../kernel/clock.ts";

interface NewSealedKey {
  readonly name: string;
  readonly algorithm: string;
  /** SubjectPublicKeyInfo, DER (RFC 5280 §4.1). */
  readonly publicKey: Buffer;
  readonly sealed: Buffer;
  /** The master key that opens it. */
  readonly keyId: string;
}

export interface SealedKey extends NewSealedKey {
  readonly createdAt: Instant;
}

export interface KeyStore {
  get(name: string): Promise<SealedKey | undefined>;
  /** The key that is stored under the name afterwards: the one that came first wins. */
  putIfAbsent(key: NewSealedKey): Promise<SealedKey>;
  /** By name. */
  list(): Promise<readonly SealedKey[]>;
}
