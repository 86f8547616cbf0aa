// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../kernel/clock.ts";
import { Secret } from "../../kernel/secret.ts";
import { KeyRing } from "../../keys/key-ring.ts";
import { loadFileMasterKey } from "../../keys/file-master-key.ts";
import { ecdsaSigningKey, ed25519SigningKey } from "../../keys/signing-keys.ts";
import { openStore } from "../../store/sqlite/open-store.ts";
import type { Store } from "../../store/store.ts";
import { Vault } from "./vault.ts";

let scratch: string;
let folder: string;
let store: Store;
let vault: Vault;
beforeEach(async () => {
  scratch = mkdtempSync(join(tmpdir(), "postern-canary-"));
  folder = join(scratch, "data");
  store = await openStore({ file: join(folder, "postern.db"), clock: systemClock });
  vault = new Vault(
    store.secrets,
    new KeyRing(await loadFileMasterKey(join(folder, "master.key"), await store.sealedUnder())),
  );
});
afterEach(async () => {
  await store.close();
  rmSync(scratch, { recursive: true });
});

/** The bytes of every file of the data folder. Copied by another process: opening them in this one would drop SQLite's locks. */
function filesNow(): Map<string, Buffer> {
  const copy = join(scratch, "copy");
  rmSync(copy, { recursive: true, force: true });
  execFileSync("cp", ["-r", folder, copy]);
  return new Map(readdirSync(copy).map((name) => [name, readFileSync(join(copy, name))]));
}
const holding = (needle: Buffer | string) =>
  [...filesNow()].filter(([, bytes]) => bytes.includes(needle)).map(([name]) => name);

const encodings = (text: string): string[] => {
  const bytes = Buffer.from(text);
  const shifted = [1, 2].map((by) => bytes.subarray(by).toString("base64").slice(0, -4));
  return [
    text,
    bytes.toString("hex"),
    bytes.toString("hex").toUpperCase(),
    bytes.toString("base64").replace(/=+$/, ""),
    bytes.toString("base64url"),
    ...shifted,
  ];
};

test("a secret stands in no file and in nothing that is returned, in no encoding", async () => {
  const canary = `CANARY-${randomBytes(18).toString("hex")}`;
  const returned: unknown[] = [
    await vault.setSecret("openai-key", Secret.fromUtf8(canary)),
    await vault.resolve("openai-key"),
    await vault.allSecrets(),
    await vault.listSecrets(),
    await store.secrets.newest("openai-key"),
    await store.secrets.all(),
    await store.secrets
      .put({ ...(await store.secrets.newest("openai-key"))! })
      .catch((error: unknown) => error),
    vault,
    store,
  ];
  const printed =
    inspect(returned, { depth: 12, showHidden: true, maxArrayLength: null }) + JSON.stringify(returned);
  expect(filesNow().get("postern.db-wal")?.length).toBeGreaterThan(0);
  for (const encoded of encodings(canary)) {
    expect(holding(encoded)).toEqual([]);
    expect(printed.includes(encoded)).toBe(false);
  }
  // The search itself works: the name, which is no secret, is found.
  expect(holding("openai-key")).not.toEqual([]);
  expect(printed).toContain("openai-key");
});

test("the master key and private signing keys stand in no other file", async () => {
  const master = readFileSync(join(folder, "master.key"));
  const keys = await loadFileMasterKey(join(folder, "master.key"), []);
  const audit = await ed25519SigningKey("audit", store.keys, keys);
  const ca = await ecdsaSigningKey("ca", store.keys, keys);
  expect(holding(master)).toEqual(["master.key"]);
  expect(holding(audit.publicKey)).not.toEqual([]);
  expect(holding(ca.spki)).not.toEqual([]);
  // How every PKCS8 of these two kinds begins, after the outer length.
  expect(holding(Buffer.from("020100300506032b6570", "hex"))).toEqual([]);
  expect(holding(Buffer.from("020100301306072a8648ce3d0201", "hex"))).toEqual([]);
});

test("after delete, the sealed bytes of all versions are gone from all files", async () => {
  for (const length of [20, 20_000]) {
    await vault.setSecret("doomed", new Secret(randomBytes(length)));
  }
  await vault.setSecret("kept", Secret.fromUtf8("stays"));
  const doomed = (await store.secrets.all()).filter(({ name }) => name === "doomed");
  // From inside each row, and from the end of the long one: it lies on pages of its own.
  const pieces = doomed.flatMap(({ sealed }) => [sealed.subarray(4, 40), sealed.subarray(-24)]);
  for (const piece of pieces) expect(holding(piece)).not.toEqual([]);
  await vault.deleteSecret("doomed");
  for (const piece of pieces) expect(holding(piece)).toEqual([]);
  expect((await store.secrets.all()).map(({ name }) => name)).toEqual(["kept"]);
});

test("a data folder without its master key starts nothing new", async () => {
  await vault.setSecret("a", Secret.fromUtf8("s"));
  rmSync(join(folder, "master.key"));
  const start = loadFileMasterKey(join(folder, "master.key"), await store.sealedUnder());
  await expect(start).rejects.toThrow("the master key is lost");
  expect(readdirSync(folder)).not.toContain("master.key");
});

test("a copy of the data folder opens with its key and holds everything", async () => {
  await vault.setSecret("a", Secret.fromUtf8("s"));
  await store.close();
  cpSync(folder, join(scratch, "restored"), { recursive: true, mode: 0 });
  folder = join(scratch, "restored");
  store = await openStore({ file: join(folder, "postern.db"), clock: systemClock });
  const keys = await loadFileMasterKey(join(folder, "master.key"), await store.sealedUnder());
  const result = await new Vault(store.secrets, new KeyRing(keys)).resolve("a");
  expect(result.ok && result.value.secret.expose("inject").toString()).toBe("s");
});
