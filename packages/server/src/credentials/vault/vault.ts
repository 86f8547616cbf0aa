// SPDX-License-Identifier: Apache-2.0
/**
 * Postern's own vault: sealed secrets in the store, opened in memory when first needed.
 *
 * Opened secrets stay cached until one is set or deleted; concurrent calls for one secret share one read.
 * Secrets that were handed out are not wiped here: a request may be about to send one.
 */
import { Fault } from "../../kernel/fault.ts";
import { ok, refuse } from "../../kernel/result.ts";
import type { Result } from "../../kernel/result.ts";
import type { Secret } from "../../kernel/secret.ts";
import type { KeyRing } from "../../keys/key-ring.ts";
import { open, seal } from "../../keys/seal.ts";
import type { SealedSecret, SecretStore, SecretSummary, SecretVersion } from "../../store/secret-store.ts";
import type { Credential, CredentialProviderKind, CredentialRefusal } from "../credential.ts";
import { SharedReads } from "./shared-reads.ts";

const LARGEST_SECRET = 65_536;
/** The same names that a `CredentialProvider` may refer to. */
const NAME = /^[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?$/;

export interface VaultRefusal {
  readonly code: "resource_invalid" | "not_found";
  readonly detail: string;
}

export class Vault implements CredentialProviderKind {
  readonly kind = "vault";
  readonly #store: SecretStore;
  readonly #keys: KeyRing;
  readonly #newest = new SharedReads<Credential>();
  readonly #all = new SharedReads<readonly Secret[]>();

  constructor(store: SecretStore, keys: KeyRing) {
    this.#store = store;
    this.#keys = keys;
  }

  /** The newest version. A Fault `credential_unavailable` where it is there but cannot be opened. */
  async resolve(secretName: string): Promise<Result<Credential, CredentialRefusal>> {
    const credential = await this.#newest.read(secretName, () => this.#readNewest(secretName));
    if (credential !== undefined) return ok(credential);
    return refuse({
      code: "credential_unavailable",
      detail: `the vault has no secret ${JSON.stringify(secretName)}: run postern secret set ${secretName}`,
    });
  }

  /** The newest version, where it was resolved before and has not changed since. */
  known(secretName: string): Credential | undefined {
    return this.#newest.known(secretName);
  }

  /** Adds a version, which is the one in use as soon as this returns. The bytes are taken as they are. */
  async setSecret(name: string, secret: Secret): Promise<Result<SecretVersion, VaultRefusal>> {
    const problem = problemOf(name, secret);
    if (problem !== undefined) return refuse({ code: "resource_invalid", detail: problem });
    const version = await this.#store.reserveVersion(name);
    try {
      return ok(await this.#put(name, version, secret));
    } finally {
      this.#forget(name);
    }
  }

  /** Removes all versions of the secret. */
  async deleteSecret(name: string): Promise<Result<{ readonly versions: number }, VaultRefusal>> {
    try {
      const versions = await this.#store.delete(name);
      if (versions > 0) return ok({ versions });
      return refuse({ code: "not_found", detail: `the vault has no secret ${JSON.stringify(name)}` });
    } finally {
      this.#forget(name);
    }
  }

  /** Names, versions and times; never material. */
  listSecrets(): Promise<readonly SecretSummary[]> {
    return this.#store.list();
  }

  /** Every version of every secret, to recognise leaks: an older one may still be valid where it was issued. */
  async allSecrets(): Promise<readonly Secret[]> {
    const secrets = await this.#all.read("", async () => {
      const rows = await this.#store.all();
      return Promise.all(rows.map((row) => this.#open(row)));
    });
    return secrets ?? [];
  }

  /** The same array, where it was read before and nothing has changed since. */
  knownSecrets(): readonly Secret[] | undefined {
    return this.#all.known("");
  }

  /** Drops what is in memory: another server has changed secrets. */
  forgetAll(): void {
    this.#newest.forgetAll();
    this.#all.forgetAll();
  }

  /** Opens all secrets ahead, so that a database that is away later is not needed for them. */
  async preload(): Promise<void> {
    await this.allSecrets();
    for (const { name } of await this.#store.list()) await this.resolve(name);
  }

  async #put(name: string, version: number, secret: Secret): Promise<SecretVersion> {
    const sealed = async () => seal(secret, identityOf({ name, version }), this.#keys.current);
    try {
      return await this.#store.put({ name, version, ...(await sealed()) });
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== "resource_conflict") throw error;
      // A rotation came in between. The store refused, so nothing is sealed under the old key.
      await this.#keys.realign();
      return this.#store.put({ name, version, ...(await sealed()) });
    }
  }

  async #readNewest(name: string): Promise<Credential | undefined> {
    const row = await this.#store.newest(name);
    if (row === undefined) return undefined;
    return { secret: await this.#open(row), version: row.version, provider: this.kind };
  }

  async #open(row: SealedSecret): Promise<Secret> {
    try {
      return await open(row, identityOf(row), this.#keys.opening(row.keyId));
    } catch (error) {
      const message = error instanceof Fault ? error.message : `secret ${row.name} cannot be opened`;
      throw new Fault("credential_unavailable", message, { cause: error });
    }
  }

  #forget(name: string): void {
    this.#newest.forget(name);
    this.#all.forget("");
  }
}

const identityOf = ({ name, version }: { readonly name: string; readonly version: number }) => ({
  table: "secret_versions",
  name,
  version,
});

/** NUL and line ends are accepted: whether a secret fits in a header is known where it is injected. */
function problemOf(name: string, secret: Secret): string | undefined {
  if (!NAME.test(name)) {
    return "a secret's name has lower-case letters, digits, dots, underscores and hyphens, 1 to 100";
  }
  if (secret.length === 0) return "the secret is empty";
  if (secret.length > LARGEST_SECRET) {
    return `the secret has ${secret.length} bytes, more than ${LARGEST_SECRET}`;
  }
  return undefined;
}
