// SPDX-License-Identifier: Apache-2.0
/** Where sealed secrets lie. The store never sees a plain secret and cannot open a sealed one. */
import type { Instant } from "../kernel/clock.ts";

export interface SecretVersion {
  readonly name: string;
  readonly version: number;
  readonly createdAt: Instant;
}

export interface SealedSecret extends SecretVersion {
  readonly sealed: Buffer;
  /** The master key that opens it. */
  readonly keyId: string;
}

/** What may be told about a secret: never its material. */
export interface SecretSummary {
  readonly name: string;
  readonly newestVersion: number;
  readonly versions: readonly SecretVersion[];
}

export interface SecretStore {
  /**
   * The next version number of `name`, never given twice, also not after a deletion: what was sealed
   * under a number cannot stand in for something newer.
   */
  reserveVersion(name: string): Promise<number>;
  /** Adds a version under a reserved number; older versions stay until `delete`. */
  put(secret: Omit<SealedSecret, "createdAt">): Promise<SecretVersion>;
  newest(name: string): Promise<SealedSecret | undefined>;
  /** Every version of every secret, by name and version. */
  all(): Promise<readonly SealedSecret[]>;
  list(): Promise<readonly SecretSummary[]>;
  /** Removes all versions, from the files too. How many there were. */
  delete(name: string): Promise<number>;
}
