// SPDX-License-Identifier: Apache-2.0
/** What every `SecretStore` must do. */
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { freshStores } from "./store-under-test.contract.ts";
import type { EmptyPlace } from "./store-under-test.contract.ts";

export function secretStoreContract(makePlace: () => Promise<EmptyPlace>): void {
  describe("SecretStore", () => {
    const given = freshStores(makePlace);
    const secrets = () => given.store.secrets;
    const put = async (name: string, material: string) => {
      const version = await secrets().reserveVersion(name);
      return secrets().put({ name, version, sealed: Buffer.from(material), keyId: "mk-1" });
    };

    test("a version number is never given twice, not at the same time and not after a deletion", async () => {
      const reserved = await Promise.all(Array.from({ length: 5 }, () => secrets().reserveVersion("a")));
      expect(new Set(reserved)).toEqual(new Set([1, 2, 3, 4, 5]));
      await put("a", "six");
      await secrets().delete("a");
      await given.reopen();
      expect(await secrets().reserveVersion("a")).toBe(7);
    });

    test("a version that is there cannot be overwritten", async () => {
      await put("a", "first");
      const again = { name: "a", version: 1, sealed: Buffer.from("second"), keyId: "mk-1" };
      await expect(secrets().put(again)).rejects.toMatchObject({ code: "resource_conflict" });
      expect((await secrets().newest("a"))?.sealed.toString()).toBe("first");
    });

    test("a version that was not reserved by that name is refused", async () => {
      const unknown = { name: "a", version: 1, sealed: Buffer.from("x"), keyId: "mk-1" };
      await expect(secrets().put(unknown)).rejects.toThrow();
      expect(await secrets().all()).toEqual([]);
    });

    test("the newest version is the one with the highest number", async () => {
      const [first, second] = [await secrets().reserveVersion("a"), await secrets().reserveVersion("a")];
      await secrets().put({ name: "a", version: second, sealed: Buffer.from("new"), keyId: "mk-2" });
      await secrets().put({ name: "a", version: first, sealed: Buffer.from("old"), keyId: "mk-1" });
      expect(await secrets().newest("a")).toEqual({
        name: "a",
        version: 2,
        sealed: Buffer.from("new"),
        keyId: "mk-2",
        createdAt: 1000,
      });
      expect(await secrets().newest("b")).toBeUndefined();
    });

    test("bytes come back exactly after reopening", async () => {
      const every = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
      const version = await secrets().reserveVersion("a");
      await secrets().put({ name: "a", version, sealed: every, keyId: "mk-1" });
      await given.reopen();
      expect((await secrets().newest("a"))?.sealed).toEqual(every);
    });

    test("the list tells names, versions and times, and holds no material", async () => {
      await put("b", "MATERIAL");
      given.clock.time = 2000;
      await put("a", "MATERIAL");
      await put("b", "MATERIAL");
      const listed = await secrets().list();
      expect(listed).toEqual([
        { name: "a", newestVersion: 1, versions: [{ name: "a", version: 1, createdAt: 2000 }] },
        {
          name: "b",
          newestVersion: 2,
          versions: [
            { name: "b", version: 1, createdAt: 1000 },
            { name: "b", version: 2, createdAt: 2000 },
          ],
        },
      ]);
      expect(inspect(listed, { depth: 9 })).not.toContain("MATERIAL");
    });

    test("delete removes all versions of one name and nothing else", async () => {
      await put("a", "1");
      await put("a", "2");
      await put("b", "1");
      expect(await secrets().delete("a")).toBe(2);
      expect(await secrets().delete("a")).toBe(0);
      expect((await secrets().all()).map(({ name }) => name)).toEqual(["b"]);
    });

    test("the store tells under which master keys something is sealed", async () => {
      expect(await given.store.sealedUnder()).toEqual([]);
      await put("a", "1");
      await put("b", "1");
      expect(await given.store.sealedUnder()).toEqual(["mk-1"]);
      await secrets().delete("a");
      await secrets().delete("b");
      expect(await given.store.sealedUnder()).toEqual([]);
    });
  });
}
