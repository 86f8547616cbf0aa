// SPDX-License-Identifier: Apache-2.0
/** Which authorities sign for a trust domain, have signed, or will. Their private keys are in the `KeyStore`. */
import type { Instant } from "../kernel/clock.ts";

export interface StoredAuthority {
  readonly trustDomain: string;
  readonly kind: "x509" | "jwt" | "wit";
  /** 1 for the first of its kind, one more for each that follows. */
  readonly generation: number;
  readonly state: "prepared" | "active" | "old" | "tainted" | "revoked";
  /** What others are given: a certificate for `x509`, a SubjectPublicKeyInfo for `jwt` and `wit`; DER. */
  readonly published: Buffer;
  /**
   * Where a parent has signed it: its own certificate and those between it and `published`, which is the parent's root then; DER, one
   * after the other.
   */
  readonly chain?: Buffer;
  readonly notBefore: Instant;
  readonly notAfter: Instant;
  readonly createdAt: Instant;
  /** When it came into its present state. */
  readonly changedAt: Instant;
}

export interface AuthoritySnapshot {
  /** Grows with every change of any authority. */
  readonly epoch: number;
  /** By kind, then by generation. */
  readonly authorities: readonly StoredAuthority[];
}

export interface AuthorityStore {
  /** All of the trust domain, with the epoch at which exactly these were there. */
  snapshot(trustDomain: string): Promise<AuthoritySnapshot>;
  /**
   * Puts these in place of those of the same trust domain, kind and generation, or beside them: all or none. False where
   * `expectedEpoch` is no longer the present one: somebody else was faster.
   */
  put(authorities: readonly StoredAuthority[], expectedEpoch: number): Promise<boolean>;
}
