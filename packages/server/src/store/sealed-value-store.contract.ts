// SPDX-License-Identifier: Apache-2.0
/** What every `SealedValueStore` must do. */
import { describe, expect, test } from "vitest";
import type { SealedValue } from "./sealed-value-store.ts";
import { freshStores } from "./store-under-test.contract.ts";
import type { EmptyPlace } from "./store-under-test.contract.ts";

export function sealedValueStoreContract(makePlace: () => Promise<EmptyPlace>): void {
  describe("SealedValueStore", () => {
    const given = freshStores(makePlace);
    const values = () => given.store.sealedValues;
    const secret = async (keyId: string) => {
      const version = await given.store.secrets.reserveVersion("a");
      return given.store.secrets.put({ name: "a", version, sealed: Buffer.from("old"), keyId });
    };
    const key = (keyId: string) => ({
      ...{ name: "ca", algorithm: "ed25519", publicKey: Buffer.from("public") },
      ...{ sealed: Buffer.from("old"), keyId },
    });
    const fill = async () => {
      await values().claimMasterKey("mk-1");
      await secret("mk-1");
      await given.store.keys.putIfAbsent(key("mk-1"));
      return values().all();
    };
    const under = (keyId: string, rows: readonly SealedValue[]) =>
      rows.map((row) => ({ ...row, sealed: Buffer.from("new"), keyId }));

    test("who claims first wins, also among many at the same time", async () => {
      const claimed = await Promise.all(
        Array.from({ length: 8 }, (_, n) => values().claimMasterKey(`mk-${n}`)),
      );
      expect(new Set(claimed).size).toBe(1);
      await given.reopen();
      expect(await values().masterKeyId()).toBe(claimed[0]);
    });

    test("everything moves to the other key at once, and the store wants that one from then on", async () => {
      const rows = await fill();
      expect(rows.map(({ table, name, version }) => `${table} ${name} ${version}`)).toEqual([
        "secret_versions a 1",
        "sealed_keys ca 1",
      ]);
      expect(await values().replaceAll("mk-1", "mk-2", under("mk-2", rows))).toBe(true);
      await given.reopen();
      expect(await values().masterKeyId()).toBe("mk-2");
      expect(await values().all()).toEqual(under("mk-2", rows));
      await expect(secret("mk-1")).rejects.toMatchObject({ code: "resource_conflict" });
      await expect(given.store.keys.putIfAbsent(key("mk-1"))).rejects.toMatchObject({
        code: "resource_conflict",
      });
      expect(await secret("mk-2")).toMatchObject({ name: "a" });
    });

    test.each<[string, (rows: readonly SealedValue[]) => Promise<readonly SealedValue[]>]>([
      ["a value came meanwhile", async (rows) => (await secret("mk-1"), rows)],
      ["a value went meanwhile", async (rows) => (await given.store.secrets.delete("a"), rows)],
      ["a value was left out", async (rows) => rows.slice(1)],
      [
        "another rotation was faster",
        async (rows) => (await values().replaceAll("mk-1", "mk-3", under("mk-3", rows)), rows),
      ],
    ])("nothing moves where %s", async (_what, disturb) => {
      const rows = await disturb(await fill());
      const before = await values().all();
      expect(await values().replaceAll("mk-1", "mk-2", under("mk-2", rows))).toBe(false);
      expect(await values().all()).toEqual(before);
      expect(await values().masterKeyId()).not.toBe("mk-2");
    });

    test("every change counts in the epoch of its area, and only there", async () => {
      const before = await given.store.epochs();
      const rows = await fill();
      await given.store.agentStates.set({ agent: "a", state: "cut", reason: "", changedBy: "uid 0" });
      const between = await given.store.epochs();
      expect(between).toEqual({
        ...before,
        secrets: before.secrets + 1,
        keys: before.keys + 1,
        agents: before.agents + 1,
      });
      await values().replaceAll("mk-1", "mk-2", under("mk-2", rows));
      expect(await given.store.epochs()).toEqual({ ...between, keys: between.keys + 1 });
    });
  });
}
