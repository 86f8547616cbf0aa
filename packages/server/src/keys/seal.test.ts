// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { Secret } from "../kernel/secret.ts";
import type { KeyEncryption } from "./key-encryption.ts";
import { masterKey } from "./master-key.ts";
import { open, seal } from "./seal.ts";

const row = { table: "secret_versions", name: "openai-key", version: 1 };
const keys = masterKey(randomBytes(32));
const plain = (secret: Secret) => secret.expose("encrypt").toString();
const sealText = (text: string, identity = row) => seal(Secret.fromUtf8(text), identity, keys);

describe("a sealed value", () => {
  test.each([
    { ...row, name: "other-key" },
    { ...row, version: 2 },
    { ...row, table: "sealed_keys" },
    { ...row, name: 'openai-key",1', version: 1 },
  ])("does not open as another row: %j", async (identity) => {
    await expect(open(await sealText("s"), identity, keys)).rejects.toThrow("was altered or moved");
  });

  test("does not open when any single bit differs", async () => {
    const value = await sealText("abc");
    for (let bit = 0; bit < value.sealed.length * 8; bit++) {
      const altered = Buffer.from(value.sealed);
      altered[bit >> 3]! ^= 1 << (bit & 7);
      await expect(open({ ...value, sealed: altered }, row, keys), `bit ${bit}`).rejects.toThrow("altered");
    }
    expect(plain(await open(value, row, keys))).toBe("abc");
  });

  test("does not open when it is cut off anywhere or something is appended", async () => {
    const value = await sealText("abc");
    for (let length = 0; length < value.sealed.length; length++) {
      const short = { ...value, sealed: value.sealed.subarray(0, length) };
      await expect(open(short, row, keys), `length ${length}`).rejects.toMatchObject({
        code: "internal_error",
      });
    }
    const long = { ...value, sealed: Buffer.concat([value.sealed, Buffer.from([0])]) };
    await expect(open(long, row, keys)).rejects.toThrow("altered");
  });

  test("does not open when the halves of two sealed values are exchanged", async () => {
    const [a, b] = [await sealText("aaa"), await sealText("bbb", { ...row, name: "b" })];
    const sealed = Buffer.concat([a.sealed.subarray(0, 63), b.sealed.subarray(63)]);
    await expect(open({ ...a, sealed }, row, keys)).rejects.toThrow("altered");
  });

  test("names both keys when the master key is another one", async () => {
    const other = masterKey(randomBytes(32));
    const value = await sealText("s");
    await expect(open(value, row, other)).rejects.toThrow(
      `wrong master key: secret_versions openai-key version 1 is sealed under ${keys.id}, this server holds ${other.id}`,
    );
    await expect(open({ ...value, keyId: other.id }, row, other)).rejects.toThrow("altered");
  });

  test("differs each time and shows nothing of the secret", async () => {
    const secret = randomBytes(24).toString("hex");
    const [a, b] = [await sealText(secret), await sealText(secret)];
    expect(a.sealed.equals(b.sealed)).toBe(false);
    expect(a.sealed.includes(secret)).toBe(false);
    expect(inspect(await open(a, row, keys))).not.toContain(secret);
  });

  test.each([0, 1, 65_536])("of %i bytes opens to what was sealed", async (length) => {
    const bytes = randomBytes(length);
    const opened = await open(await seal(new Secret(Buffer.from(bytes)), row, keys), row, keys);
    expect(opened.expose("encrypt").equals(bytes)).toBe(true);
  });

  test("leaves no data key behind, neither after sealing nor after opening", async () => {
    const seen: Buffer[] = [];
    const watching: KeyEncryption = {
      id: keys.id,
      wrap(dataKey, context) {
        expect(dataKey.equals(Buffer.alloc(32))).toBe(false);
        seen.push(dataKey);
        return keys.wrap(dataKey, context);
      },
      async unwrap(wrapped, context) {
        const dataKey = await keys.unwrap(wrapped, context);
        seen.push(dataKey);
        return dataKey;
      },
    };
    const value = await seal(Secret.fromUtf8("s"), row, watching);
    await open(value, row, watching);
    expect(seen.map((key) => key.equals(Buffer.alloc(32)))).toEqual([true, true]);
  });
});

describe("a master key", () => {
  test.each([0, 16, 31, 33])("of %i bytes is refused", (length) => {
    expect(() => masterKey(Buffer.alloc(length))).toThrow("has 32 bytes");
  });

  test("is overwritten where it was read, and its id tells keys apart without showing them", () => {
    const bytes = randomBytes(32);
    const hex = bytes.toString("hex");
    const key = masterKey(bytes);
    expect(bytes.equals(Buffer.alloc(32))).toBe(true);
    expect(key.id).toMatch(/^mk-[0-9a-f]{24}$/);
    expect(masterKey(Buffer.from(hex, "hex")).id).toBe(key.id);
    expect(masterKey(randomBytes(32)).id).not.toBe(key.id);
    expect(inspect(key, { depth: 9, showHidden: true })).not.toContain(hex.slice(0, 12));
  });

  test("does not unwrap under another context, nor anything of another length", async () => {
    const wrapped = await keys.wrap(randomBytes(32), Buffer.from("a"));
    await expect(keys.unwrap(wrapped, Buffer.from("b"))).rejects.toThrow();
    await expect(keys.unwrap(wrapped.subarray(0, -1), Buffer.from("a"))).rejects.toThrow(
      "not a wrapped data key",
    );
  });
});
