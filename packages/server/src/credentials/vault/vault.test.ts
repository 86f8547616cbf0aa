// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../kernel/clock.ts";
import { Secret } from "../../kernel/secret.ts";
import { KeyRing } from "../../keys/key-ring.ts";
import { masterKey } from "../../keys/master-key.ts";
import { openStore } from "../../store/sqlite/open-store.ts";
import type { Store } from "../../store/store.ts";
import { Vault } from "./vault.ts";

const keys = new KeyRing(masterKey(randomBytes(32)));
let folder: string;
let file: string;
let store: Store;
let vault: Vault;
const openVault = async () => {
  store = await openStore({ file, clock: systemClock });
  vault = new Vault(store.secrets, keys);
};
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-vault-"));
  file = join(folder, "postern.db");
  await openVault();
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

/** Changes the database behind the server's back. */
async function tamper(statement: string): Promise<void> {
  await store.close();
  const database = new DatabaseSync(file);
  database.function("flip", (bytes) => {
    const flipped = Buffer.from(bytes as Uint8Array);
    flipped[80]! ^= 1;
    return flipped;
  });
  database.exec(statement);
  database.close();
  await openVault();
}
const set = (name: string, text: string) => vault.setSecret(name, Secret.fromUtf8(text));
async function resolved(name: string): Promise<string> {
  const result = await vault.resolve(name);
  if (!result.ok) throw new Error(result.reason.detail);
  return result.value.secret.expose("inject").toString();
}
const texts = async () => (await vault.allSecrets()).map((secret) => secret.expose("scrub").toString());

describe("tampering with the database", () => {
  beforeEach(async () => {
    await set("a", "secret of a");
    await set("b", "secret of b");
  });

  test.each([
    [
      "swapped rows",
      `create temp table old as select * from secret_versions;
       update secret_versions set sealed = (select sealed from old where old.name <> secret_versions.name)`,
    ],
    [
      "a row moved to another name",
      "update secret_versions set name = 'x' where name = 'b'; update secret_versions set name = 'b' where name = 'a'; update secret_versions set name = 'a' where name = 'x'",
    ],
    ["an old row passed off as newer", "update secret_versions set version = 9"],
    ["a flipped bit", "update secret_versions set sealed = flip(sealed)"],
    ["a truncated row", "update secret_versions set sealed = substr(sealed, 1, length(sealed) - 1)"],
    ["an emptied row", "update secret_versions set sealed = x''"],
  ])("%s is refused", async (_, statement) => {
    await tamper(`pragma foreign_keys = off; ${statement}`);
    await expect(vault.resolve("a")).rejects.toMatchObject({ code: "credential_unavailable" });
    await expect(vault.resolve("b")).rejects.toThrow("was altered or moved");
    await expect(vault.allSecrets()).rejects.toThrow("was altered or moved");
  });

  test("another master key is named as such", async () => {
    const other = new Vault(store.secrets, new KeyRing(masterKey(randomBytes(32))));
    await expect(other.resolve("a")).rejects.toThrow("wrong master key: secret_versions a version 1");
  });
});

describe("the vault", () => {
  test("refuses a secret that is not there, and finds it once it is set", async () => {
    const missing = await vault.resolve("openai-key");
    expect(missing).toEqual({
      ok: false,
      reason: {
        code: "credential_unavailable",
        detail: 'the vault has no secret "openai-key": run postern secret set openai-key',
      },
    });
    await set("openai-key", "s");
    expect(await resolved("openai-key")).toBe("s");
  });

  test.each([
    "",
    "UPPER",
    "-x",
    "x-",
    "a/b",
    "a b",
    "..",
    "x".repeat(101),
    "sk-proj-0123456789ABCDEF",
    "a\n",
  ])("refuses the name %j without repeating it", async (name) => {
    const result = await set(name, "s");
    expect(result).toMatchObject({ ok: false, reason: { code: "resource_invalid" } });
    if (name.length > 5) expect(JSON.stringify(result)).not.toContain(name);
    expect(await vault.listSecrets()).toEqual([]);
  });

  test("refuses nothing at all and more than 64 KiB", async () => {
    expect(await set("a", "")).toMatchObject({ ok: false, reason: { detail: "the secret is empty" } });
    expect(await set("a", "x".repeat(65_537))).toMatchObject({ ok: false });
    expect(await set("a", "x".repeat(65_536))).toMatchObject({ ok: true });
  });

  test("keeps every byte, also line ends and NUL", async () => {
    await set("pem", "line 1\r\nline 2\n\0");
    await store.close();
    await openVault();
    expect(await resolved("pem")).toBe("line 1\r\nline 2\n\0");
  });

  test("gives the new secret as soon as setting returned, and none after deleting", async () => {
    await set("a", "old");
    expect(await resolved("a")).toBe("old");
    expect(await set("a", "new")).toMatchObject({ ok: true, value: { name: "a", version: 2 } });
    expect(await resolved("a")).toBe("new");
    expect(await vault.deleteSecret("a")).toEqual({ ok: true, value: { versions: 2 } });
    expect(await vault.resolve("a")).toMatchObject({ ok: false });
    expect(await vault.deleteSecret("a")).toMatchObject({ ok: false, reason: { code: "not_found" } });
  });

  test("gives a secret that was deleted and set again a version never seen before", async () => {
    await set("a", "one");
    await vault.deleteSecret("a");
    expect(await set("a", "two")).toMatchObject({ ok: true, value: { version: 2 } });
  });

  test("uses the highest of simultaneous versions", async () => {
    const results = await Promise.all(["one", "two", "three"].map((text) => set("a", text)));
    expect(
      results.map((result) => result.ok && result.value.version).toSorted((a, b) => Number(a) - Number(b)),
    ).toEqual([1, 2, 3]);
    expect(await vault.resolve("a")).toMatchObject({ ok: true, value: { version: 3, provider: "vault" } });
  });

  test("all secrets are there for leak matching, older versions too, until deleted", async () => {
    expect(await texts()).toEqual([]);
    await set("b", "b1");
    await set("a", "a1");
    await set("a", "a2");
    expect(await texts()).toEqual(["a1", "a2", "b1"]);
    await vault.deleteSecret("a");
    expect(await texts()).toEqual(["b1"]);
  });

  test("reads a secret once for many who ask at the same time, and not again afterwards", async () => {
    await set("a", "s");
    let reads = 0;
    const counting = new Vault(
      {
        ...store.secrets,
        newest(name) {
          reads++;
          return store.secrets.newest(name);
        },
      },
      keys,
    );
    const results = await Promise.all(Array.from({ length: 20 }, () => counting.resolve("a")));
    await counting.resolve("a");
    expect(reads).toBe(1);
    expect(new Set(results.map((result) => result.ok && result.value.secret)).size).toBe(1);
  });

  test("a read that was under way while the secret changed does not bring the old one back", async () => {
    await set("a", "old");
    const { promise: blocked, resolve: unblock } = Promise.withResolvers<void>();
    let slow = true;
    const slowVault = new Vault(
      {
        ...store.secrets,
        async newest(name) {
          const row = await store.secrets.newest(name);
          if (slow) await blocked;
          return row;
        },
      },
      keys,
    );
    const early = slowVault.resolve("a");
    await slowVault.setSecret("a", Secret.fromUtf8("new"));
    slow = false;
    unblock();
    await early;
    const late = await slowVault.resolve("a");
    expect(late.ok && late.value.secret.expose("inject").toString()).toBe("new");
  });

  test("a failed read is tried again", async () => {
    await set("a", "s");
    let failing = true;
    const flaky = new Vault(
      {
        ...store.secrets,
        async newest(name) {
          if (failing) throw new Error("disk");
          return store.secrets.newest(name);
        },
      },
      keys,
    );
    await expect(flaky.resolve("a")).rejects.toThrow("disk");
    failing = false;
    expect(await flaky.resolve("a")).toMatchObject({ ok: true });
  });

  test("what another server has set is used once this one was told to forget, and preloading reads it ahead", async () => {
    const here = new Vault(store.secrets, keys);
    await set("a", "old");
    const read = async () => {
      const found = await here.resolve("a");
      return found.ok ? found.value.secret.expose("inject").toString() : undefined;
    };
    expect(await read()).toBe("old");
    await set("a", "new");
    expect(await read()).toBe("old");
    here.forgetAll();
    await here.preload();
    await store.secrets.delete("a");
    expect(await read()).toBe("new");
    expect((await here.allSecrets()).length).toBe(2);
    here.forgetAll();
    expect(await read()).toBeUndefined();
  });
});
