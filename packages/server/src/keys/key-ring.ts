// SPDX-License-Identifier: Apache-2.0
/** The master keys that this server holds: one seals, all open. More than one only while a rotation goes on. */
import { Fault } from "../kernel/fault.ts";
import type { KeyEncryption } from "./key-encryption.ts";

export class KeyRing {
  readonly #known = new Map<string, KeyEncryption>();
  readonly #designated: () => Promise<string | undefined>;
  #current: KeyEncryption;

  /** `designated` tells the key under which the store wants new values. */
  constructor(current: KeyEncryption, designated: () => Promise<string | undefined> = async () => undefined) {
    this.#current = current;
    this.#designated = designated;
    this.accept(current);
  }

  /** Seals new values. */
  get current(): KeyEncryption {
    return this.#current;
  }

  /** Opens what is sealed under `id`. A key that is not here is not guessed: opening then names both ids. */
  opening(id: string): KeyEncryption {
    return this.#known.get(id) ?? this.#current;
  }

  /** Opens values under this key too from now on. */
  accept(key: KeyEncryption): void {
    this.#known.set(key.id, key);
  }

  /** Seals under the key that the store wants now. A Fault with the next step where that is not here. */
  async realign(): Promise<void> {
    const id = (await this.#designated()) ?? this.#current.id;
    const key = this.#known.get(id);
    if (key === undefined) {
      throw new Fault(
        "credential_unavailable",
        `the master key of the database is ${id} now, this server holds ${[...this.#known.keys()].join(", ")}: ` +
          "run `postern vault accept-key REF` with the new key here",
      );
    }
    this.#current = key;
  }
}
