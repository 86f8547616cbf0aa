// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Vault } from "./vault.ts";
import { systemClock } from "../../kernel/clock.ts";
import { Secret } from "../../kernel/secret.ts";
import { openStore } from "../../store/sqlite/open-store.ts";
import { loadFileMasterKey, loadNextKey, prepareNextKey, settleNextKey } from "../../keys/file-master-key.ts";
import { KeyRing } from "../../keys/key-ring.ts";
import { masterKey } from "../../keys/master-key.ts";
import { rotateMasterKey } from "../../keys/rotate-master-key.ts";
import { ed25519SigningKey } from "../../keys/signing-keys.ts";

const SECRETS = ["a", "b", "c"];

let folder: string;
let file: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-rotate-"));
  file = join(folder, "postern.db");
  path = join(folder, "master.key");
});
afterEach(() => rmSync(folder, { recursive: true }));

async function openVault() {
  const store = await openStore({ file, clock: systemClock });
  const key = await loadFileMasterKey(path, await store.sealedUnder());
  await store.sealedValues.claimMasterKey(key.id);
  const ring = new KeyRing(key, () => store.sealedValues.masterKeyId());
  return { store, ring, vault: new Vault(store.secrets, ring) };
}

/** Secrets a, b and c, two versions each, and a signing key; its public part. */
async function fill(): Promise<Buffer> {
  const { store, ring, vault } = await openVault();
  for (const version of [1, 2])
    for (const name of SECRETS) await vault.setSecret(name, Secret.fromUtf8(`${name}${version}`));
  const { publicKey } = await ed25519SigningKey("audit", store.keys, ring.current);
  await store.close();
  return publicKey;
}

/** Opens everything as a fresh start would; the id of the key it is sealed under. */
async function readAll(publicKey: Buffer): Promise<string> {
  const { store, ring, vault } = await openVault();
  const texts = (await vault.allSecrets()).map((secret) => secret.expose("scrub").toString());
  expect(texts).toEqual(["a1", "a2", "b1", "b2", "c1", "c2"]);
  expect((await ed25519SigningKey("audit", store.keys, ring.current)).publicKey).toEqual(publicKey);
  expect(await store.sealedUnder()).toEqual([ring.current.id]);
  expect(await store.sealedValues.masterKeyId()).toBe(ring.current.id);
  await store.close();
  return ring.current.id;
}

/** Rotates as the server does, and is killed before the `n`-th step that leaves a trace on disk. */
const ROTATE_AND_DIE = `
  import fs from "node:fs";
  import { syncBuiltinESMExports } from "node:module";
  import { DatabaseSync, StatementSync } from "node:sqlite";
  const [keysFolder, storeFolder, folder, n] = process.argv.slice(1);
  let steps = -Infinity;
  const count = (target, name) => {
    const original = target[name];
    target[name] = function (...words) {
      if (steps++ === Number(n)) process.kill(process.pid, "SIGKILL");
      return original.apply(this, words);
    };
  };
  for (const name of ["run", "all", "get"]) count(StatementSync.prototype, name);
  count(DatabaseSync.prototype, "exec");
  for (const name of ["open", "link", "rename", "rm"]) count(fs.promises, name);
  syncBuiltinESMExports();
  const { openStore } = await import(storeFolder + "/open-store.ts");
  const { loadFileMasterKey, prepareNextKey, settleNextKey } = await import(keysFolder + "/file-master-key.ts");
  const { KeyRing } = await import(keysFolder + "/key-ring.ts");
  const { rotateMasterKey } = await import(keysFolder + "/rotate-master-key.ts");
  const path = folder + "/master.key";
  const store = await openStore({ file: folder + "/postern.db", clock: { now: () => 0 } });
  const ring = new KeyRing(await loadFileMasterKey(path, await store.sealedUnder()), () => store.sealedValues.masterKeyId());
  steps = 0;
  await rotateMasterKey(store.sealedValues, ring, await prepareNextKey(path));
  await settleNextKey(path);
  process.stdout.write(String(steps));
`;

function rotateAndDie(step: number) {
  const here = new URL("../../keys", import.meta.url).href;
  const store = new URL("../../store/sqlite", import.meta.url).href;
  const words = ["--input-type=module", "-e", ROTATE_AND_DIE, here, store, folder, String(step)];
  return spawnSync(process.execPath, words, { encoding: "utf8" });
}

test("kill -9 before any step leaves everything under the old key or everything under the new one", async () => {
  const publicKey = await fill();
  let present = await readAll(publicKey);
  const outcomes = { old: 0, new: 0 };
  for (let step = 0; ; step++) {
    const { signal, status, stderr } = rotateAndDie(step);
    expect(stderr).toBe("");
    const after = await readAll(publicKey);
    outcomes[after === present ? "old" : "new"]++;
    present = after;
    if (signal === null) {
      expect(status).toBe(0);
      break;
    }
  }
  // Both sides of the commit were hit, more than once each.
  expect(outcomes.old).toBeGreaterThan(10);
  expect(outcomes.new).toBeGreaterThan(3);
  process.stderr.write(`rotation killed at ${outcomes.old + outcomes.new - 1} points: nothing lost\n`);
}, 120_000);

test("the server goes on while it rotates: reads work, and what is set meanwhile is sealed under the new key", async () => {
  await fill();
  const { store, ring, vault } = await openVault();
  const old = ring.current;
  const slow = {
    ...store.sealedValues,
    // Between reading and replacing, somebody sets a secret: what was read is outdated.
    async all() {
      const rows = await store.sealedValues.all();
      if ((await store.secrets.newest("d")) === undefined) await vault.setSecret("d", Secret.fromUtf8("d1"));
      return rows;
    },
  };
  const done = await rotateMasterKey(slow, ring, await prepareNextKey(path));
  expect(done).toMatchObject({ from: old.id, to: ring.current.id, values: 8 });
  for (const name of [...SECRETS, "d"]) expect((await vault.resolve(name)).ok).toBe(true);
  const late = new Vault(store.secrets, new KeyRing(old, () => store.sealedValues.masterKeyId()));
  await expect(late.setSecret("e", Secret.fromUtf8("e1"))).rejects.toThrow(
    "run `postern vault accept-key REF`",
  );
  expect(await store.sealedUnder()).toEqual([ring.current.id]);
  await store.close();
});

test("a secret that was sealed under the old key just before the rotation is sealed again, not lost", async () => {
  await fill();
  const { store, ring } = await openVault();
  const next = await prepareNextKey(path);
  const racing = new Vault(
    {
      ...store.secrets,
      async put(row) {
        if (row.keyId !== next.id) await rotateMasterKey(store.sealedValues, ring, next);
        return store.secrets.put(row);
      },
    },
    ring,
  );
  expect(await racing.setSecret("a", Secret.fromUtf8("a3"))).toMatchObject({ ok: true });
  expect(await store.sealedUnder()).toEqual([next.id]);
  await store.close();
});

test("one altered value stops it, is named, and everything is as before", async () => {
  const publicKey = await fill();
  const { store, ring } = await openVault();
  const broken = {
    ...store.sealedValues,
    all: async () =>
      (await store.sealedValues.all()).map((row) => (row.name === "b" ? { ...row, version: 9 } : row)),
  };
  await expect(rotateMasterKey(broken, ring, masterKey(randomBytes(32)))).rejects.toThrow(
    "the sealed value of secret_versions b version 9 was altered or moved",
  );
  await store.close();
  await readAll(publicKey);
});

test("to the key that is there already it does nothing", async () => {
  await fill();
  const { store, ring } = await openVault();
  expect(await rotateMasterKey(store.sealedValues, ring, ring.current)).toMatchObject({ values: 0 });
  await store.close();
});

test("the old key file stays beside the new one, and a next one that was begun is taken up again", async () => {
  await fill();
  const before = readFileSync(path);
  const { store, ring } = await openVault();
  const begun = await prepareNextKey(path);
  expect((await prepareNextKey(path)).id).toBe(begun.id);
  await rotateMasterKey(store.sealedValues, ring, begun);
  const kept = await settleNextKey(path);
  expect(readFileSync(kept!)).toEqual(before);
  expect(readFileSync(path)).not.toEqual(before);
  expect(await loadNextKey(path)).toBeUndefined();
  expect(existsSync(`${path}.next`)).toBe(false);
  expect(readdirSync(folder).filter((name) => name.includes("master.key"))).toHaveLength(2);
  await store.close();
});

test("a start with the old key file put back by hand is refused in words", async () => {
  await fill();
  const old = readFileSync(path);
  const { store, ring } = await openVault();
  await rotateMasterKey(store.sealedValues, ring, await prepareNextKey(path));
  await settleNextKey(path);
  await store.close();
  writeFileSync(path, old);
  const again = await openStore({ file, clock: systemClock });
  await expect(loadFileMasterKey(path, await again.sealedUnder())).rejects.toThrow("wrong master key");
  await again.close();
});
