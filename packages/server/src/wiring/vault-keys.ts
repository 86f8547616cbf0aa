// SPDX-License-Identifier: Apache-2.0
/** The commands on master keys: rotate, and accept the key that another server is about to rotate to. */
import type { RotateKeyResponse } from "@postern/contract";
import { resourceChangeEvent } from "../audit/change-events.ts";
import type { AuditEvent } from "../audit/event-frame.ts";
import type { Config } from "../config/config.ts";
import type { Clock } from "../kernel/clock.ts";
import { Fault } from "../kernel/fault.ts";
import { newId } from "../kernel/ids.ts";
import { type Result, ok, refuse } from "../kernel/result.ts";
import { loadReferencedMasterKey, prepareNextKey, settleNextKey } from "../keys/file-master-key.ts";
import type { KeyEncryption } from "../keys/key-encryption.ts";
import { rotateMasterKey } from "../keys/rotate-master-key.ts";
import { keyFile, type Storage } from "./open-storage.ts";

export class VaultKeys {
  readonly #config: Config;
  readonly #storage: Storage;
  readonly #audit: (event: AuditEvent) => Promise<void>;
  readonly #clock: Clock;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(
    config: Config,
    storage: Storage,
    parts: { readonly clock: Clock; audit(event: AuditEvent): Promise<void> },
  ) {
    this.#config = config;
    this.#storage = storage;
    this.#clock = parts.clock;
    this.#audit = (event) => parts.audit(event);
  }

  /** To the key behind `reference`; without one, to a new key in the key file's place. */
  rotate(reference: string | undefined, operatorUid: number): Promise<Result<RotateKeyResponse, string>> {
    return this.#alone(async () => {
      const { masterKey, dataFolder } = this.#config;
      if (reference === undefined && masterKey !== undefined)
        return refuse(
          `the master key comes from ${masterKey}: make another key and say where it is, --to REF`,
        );
      if (reference === undefined && this.#storage.store.feed !== undefined)
        return refuse(
          "servers can share this database: put a new key where each of them can read it (openssl rand -base64 32), " +
            "run `postern vault accept-key REF` on the others, then rotate here with --to REF",
        );
      const path = keyFile(dataFolder);
      const to = reference === undefined ? ok(await prepareNextKey(path)) : await this.#resolve(reference);
      if (!to.ok) return to;
      await this.#record("update", to.value.id, operatorUid);
      const { store, keys } = this.#storage;
      const done = await rotateMasterKey(store.sealedValues, keys, to.value);
      const keptAt = reference === undefined ? await settleNextKey(path) : undefined;
      return ok({
        ...done,
        ...(keptAt === undefined ? {} : { keptAt }),
        ...(reference === undefined ? {} : { startWith: reference }),
      });
    });
  }

  /** Opens under this key too until the server ends; for the other servers before one of them rotates. */
  accept(reference: string, operatorUid: number): Promise<Result<{ keyId: string }, string>> {
    return this.#alone(async () => {
      const key = await this.#resolve(reference);
      if (!key.ok) return key;
      await this.#record("create", key.value.id, operatorUid);
      this.#storage.keys.accept(key.value);
      await this.#storage.keys.realign();
      return ok({ keyId: key.value.id });
    });
  }

  async #resolve(reference: string): Promise<Result<KeyEncryption, string>> {
    try {
      return ok(await loadReferencedMasterKey(reference, { readEnv: this.#config.readEnvironment }, []));
    } catch (error) {
      if (error instanceof Fault) return refuse(error.message);
      throw error;
    }
  }

  #record(change: "create" | "update", name: string, operatorUid: number): Promise<void> {
    const time = this.#clock.now();
    const resourceKind = "MasterKey";
    return this.#audit(
      resourceChangeEvent({ id: newId(time), time, change, resourceKind, name, operatorUid }),
    );
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => {});
    return result;
  }
}
