// SPDX-License-Identifier: Apache-2.0
/** Everything sealed, whatever table it lies in, so that it can be sealed anew under another master key. */

export interface SealedValue {
  readonly table: "secret_versions" | "sealed_keys";
  readonly name: string;
  readonly version: number;
  readonly sealed: Buffer;
  /** The master key that opens it. */
  readonly keyId: string;
}

export interface SealedValueStore {
  /** The master key under which new values must be sealed; undefined until one is claimed. */
  masterKeyId(): Promise<string | undefined>;
  /** The id that counts afterwards: who claims first wins. */
  claimMasterKey(keyId: string): Promise<string>;
  all(): Promise<readonly SealedValue[]>;
  /**
   * Puts `values`, all under the key `to`, in place of those that are there under `from`, and makes `to` the
   * master key: all at once or not at all. False where they are not the same rows any more: read them again.
   */
  replaceAll(from: string, to: string, values: readonly SealedValue[]): Promise<boolean>;
}
