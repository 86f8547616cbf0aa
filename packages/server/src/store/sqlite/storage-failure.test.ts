// SPDX-License-Identifier: Apache-2.0
/** Real failures of a real disk: each is told in words, nothing acknowledged is lost, and it goes on once mended. */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../kernel/clock.ts";
import type { Store } from "../store.ts";
import { openStore } from "./open-store.ts";

const isRoot = process.getuid?.() === 0;

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-failure-"));
  file = join(folder, "data", "postern.db");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const open = (): Promise<Store> => openStore({ file, clock: systemClock });

async function put(store: Store, bytes: number): Promise<number> {
  const version = await store.secrets.reserveVersion("a");
  await store.secrets.put({ name: "a", version, sealed: Buffer.alloc(bytes, version), keyId: "mk" });
  return version;
}

const mount = (size: string, options = ""): void => {
  execFileSync("mkdir", ["-p", join(folder, "data")]);
  execFileSync("mount", [
    "-t",
    "tmpfs",
    "-o",
    `size=${size},mode=700${options}`,
    "tmpfs",
    join(folder, "data"),
  ]);
};
const canMount = (): boolean => {
  if (!isRoot || process.platform !== "linux") return false;
  const probe = mkdtempSync(join(tmpdir(), "postern-mount-"));
  const isDone = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", probe]).status === 0;
  if (isDone) execFileSync("umount", [probe]);
  rmSync(probe, { recursive: true });
  return isDone;
};

describe.skipIf(!canMount())("a disk of its own", () => {
  afterEach(() => void spawnSync("umount", ["-l", join(folder, "data")]));

  test("that is full refuses the change in words, loses nothing, and takes changes again when there is space", async () => {
    mount("2m");
    const store = await open();
    const ballast = join(folder, "data", "ballast");
    writeFileSync(ballast, Buffer.alloc(200_000));
    const acknowledged: number[] = [];
    const failure = await (async () => {
      for (;;) acknowledged.push(await put(store, 20_000));
    })().catch((error: Error) => error.message);
    expect(failure).toContain("cannot grow because the disk is full: free some space, then try again");
    expect(acknowledged.length).toBeGreaterThan(3);
    const kept = async (from: Store) => (await from.secrets.all()).map(({ version }) => version);
    expect(await kept(store)).toEqual(acknowledged);
    rmSync(ballast);
    acknowledged.push(await put(store, 1000));
    await store.close();
    const again = await open();
    expect(await kept(again)).toEqual(acknowledged);
    await again.close();
  });

  test("that is full already refuses the start in words and leaves no half database", async () => {
    mount("64k");
    await expect(open()).rejects.toThrow(/cannot be (created|made|read or written)|disk is full/);
    execFileSync("mount", ["-o", "remount,size=4m", join(folder, "data")]);
    const store = await open();
    expect(await put(store, 1000)).toBe(1);
    await store.close();
  });

  test("that is read-only refuses the start and names the file", async () => {
    mount("4m");
    await (await open()).close();
    execFileSync("mount", ["-o", "remount,ro", join(folder, "data")]);
    await expect(open()).rejects.toThrow(/data\/(lock|postern)\.db (cannot be|belongs)/);
  });
});

describe("a database file that is damaged", () => {
  const damage = (at: (size: number) => number): void => {
    const bytes = readFileSync(file);
    bytes.fill(0x5a, at(bytes.length), at(bytes.length) + 3000);
    writeFileSync(file, bytes);
  };
  test.each<[string, (size: number) => number]>([
    ["in its first page", () => 100],
    ["in the middle", (size) => Math.floor(size / 2)],
  ])("%s is refused in words and left as it is", async (_where, at) => {
    const store = await open();
    // Small rows: the damage hits the structure and not the inside of a sealed value, which finds it itself.
    for (let n = 0; n < 300; n++) await put(store, 20);
    await store.close();
    damage(at);
    const before = readFileSync(file);
    for (const _ of ["first", "second"])
      await expect(open()).rejects.toThrow(/is damaged: stop the server|is not a database of postern/);
    expect(readFileSync(file)).toEqual(before);
  });

  test.skipIf(!isRoot)("a folder of another account is refused with the command that mends it", async () => {
    await (await open()).close();
    chownSync(join(folder, "data"), 1, 1);
    await expect(open()).rejects.toThrow("chown -R 0");
    chownSync(join(folder, "data"), 0, 0);
    chmodSync(join(folder, "data"), 0o755);
    await expect(open()).rejects.toThrow("chmod 700");
  });
});
