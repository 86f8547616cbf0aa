// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadFileMasterKey, loadReferencedMasterKey, removeDrafts } from "./file-master-key.ts";
import { masterKey } from "./master-key.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-key-"));
  path = join(folder, "master.key");
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("the master key file", () => {
  test("that is lost is not replaced while the store depends on it", async () => {
    const lost = loadFileMasterKey(path, ["mk-old"]);
    await expect(lost).rejects.toThrow(
      `the master key is lost: the store holds secrets sealed under mk-old, and there is no file ${path}`,
    );
    expect(readdirSync(folder)).toEqual([]);
  });

  test("of another installation is refused with both ids", async () => {
    const { id } = await loadFileMasterKey(path, []);
    await expect(loadFileMasterKey(path, [id, "mk-old"])).rejects.toThrow(
      `wrong master key: ${path} holds ${id}, the store is sealed under mk-old`,
    );
  });

  test.each(["640", "604", "660", "601"])(
    "of mode %s is refused with the command that mends it",
    async (mode) => {
      await loadFileMasterKey(path, []);
      chmodSync(path, Number.parseInt(mode, 8));
      await expect(loadFileMasterKey(path, [])).rejects.toThrow(`run: chmod 600 ${path}`);
    },
  );

  test.each([0, 31, 33, 64])("of %i bytes is refused and left alone", async (length) => {
    writeFileSync(path, Buffer.alloc(length, 7), { mode: 0o600 });
    await expect(loadFileMasterKey(path, [])).rejects.toThrow(`has ${length} bytes instead of 32`);
    expect(readFileSync(path)).toHaveLength(length);
  });

  test("that is a symbolic link is refused, also where it points nowhere", async () => {
    const elsewhere = join(folder, "elsewhere");
    await loadFileMasterKey(elsewhere, []);
    symlinkSync(elsewhere, path);
    await expect(loadFileMasterKey(path, [])).rejects.toThrow("is a symbolic link");
    rmSync(elsewhere);
    await expect(loadFileMasterKey(path, [])).rejects.toThrow("is a symbolic link");
    expect(existsSync(elsewhere)).toBe(false);
  });

  test("that is a folder is refused", async () => {
    mkdirSync(path, { mode: 0o700 });
    await expect(loadFileMasterKey(path, [])).rejects.toThrow("is not a plain file");
  });

  test.skipIf(process.getuid?.() !== 0)("of another user is refused, also for root", async () => {
    await loadFileMasterKey(path, []);
    chownSync(path, 65_534, 65_534);
    await expect(loadFileMasterKey(path, [])).rejects.toThrow("belongs to user 65534");
  });

  test("is made once, for the owner alone, whatever the umask, and leaves no draft", async () => {
    const before = process.umask(0);
    const first = await loadFileMasterKey(path, []).finally(() => process.umask(before));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(["master.key"]);
    expect((await loadFileMasterKey(path, [first.id])).id).toBe(first.id);
  });

  test("leaves no draft of a server that was killed while it made one, and nothing else is taken away", async () => {
    const { id } = await loadFileMasterKey(path, []);
    const [drafts, others] = [
      ["master.key.0123456789ab.new", "master.key.next.0123456789ab.new"],
      ["master.key", "master.key.new", "master.key.old-01234567", "notes.0123456789ab.new"],
    ];
    for (const name of [...drafts, ...others.slice(1)]) writeFileSync(join(folder, name), "left");
    removeDrafts(path);
    expect(readdirSync(folder).toSorted()).toEqual(others);
    expect((await loadFileMasterKey(path, [id])).id).toBe(id);
  });

  test("is made by one of two simultaneous first starts; the other does not overwrite it", async () => {
    const starts = await Promise.allSettled([loadFileMasterKey(path, []), loadFileMasterKey(path, [])]);
    const made = starts.filter((start) => start.status === "fulfilled").map(({ value }) => value.id);
    const { id } = await loadFileMasterKey(path, []);
    expect(new Set(made)).toEqual(new Set([id]));
  });

  test("works again when it is put back", async () => {
    const { id } = await loadFileMasterKey(path, []);
    renameSync(path, `${path}.away`);
    await expect(loadFileMasterKey(path, [id])).rejects.toThrow("put the key file back");
    renameSync(`${path}.away`, path);
    expect((await loadFileMasterKey(path, [id])).id).toBe(id);
  });
});

describe("a master key behind a reference", () => {
  const bytes = randomBytes(32);
  const encoded = bytes.toString("base64");
  const { id } = masterKey(Buffer.from(bytes));
  const environment = (values: Record<string, string>) => ({ readEnv: (name: string) => values[name] });
  const none = environment({});

  test.each(["", "file:relative", "env:", "http://x/y", "FILE:/x", "/etc/key"])(
    "%j is refused as a reference",
    async (reference) => {
      await expect(loadReferencedMasterKey(reference, none, [])).rejects.toThrow("a reference is written");
    },
  );

  test.each([encoded.slice(0, -2), encoded.slice(4), `${encoded}AAAA`, `*${encoded}`, bytes.toString("hex")])(
    "a value that is not 32 bytes in base64 is refused and not repeated (%#)",
    async (value) => {
      const refused = await loadReferencedMasterKey("env:KEY", environment({ KEY: value }), []).catch(
        (error: unknown) => error,
      );
      expect(String(refused)).toContain("env:KEY is not 32 bytes in base64");
      expect(String(refused)).not.toContain(value.slice(0, 8));
    },
  );

  test("a missing variable and a missing file are named", async () => {
    await expect(loadReferencedMasterKey("env:KEY", none, [])).rejects.toThrow("variable KEY is not set");
    await expect(loadReferencedMasterKey(`file:${path}`, none, [])).rejects.toThrow(
      `the file ${path} cannot be read`,
    );
    expect(existsSync(path)).toBe(false);
  });

  test("a file that everybody can read, or others can change, is refused", async () => {
    writeFileSync(path, encoded);
    for (const mode of [0o644, 0o420]) {
      chmodSync(path, mode);
      await expect(loadReferencedMasterKey(`file:${path}`, none, [])).rejects.toThrow(`chmod 400 ${path}`);
    }
  });

  test("the right value gives the key, through a variable, a file or a link to a file", async () => {
    writeFileSync(path, `${encoded}\n`, { mode: 0o440 });
    chmodSync(path, 0o440);
    symlinkSync(path, `${path}.link`);
    for (const reference of ["env:KEY", `file:${path}`, `file:${path}.link`]) {
      const key = await loadReferencedMasterKey(reference, environment({ KEY: encoded }), [id]);
      expect(key.id).toBe(id);
    }
  });

  test("another key than the store's is refused", async () => {
    const load = loadReferencedMasterKey("env:KEY", environment({ KEY: encoded }), ["mk-old"]);
    await expect(load).rejects.toThrow(
      `wrong master key: env:KEY holds ${id}, the store is sealed under mk-old`,
    );
  });
});
