// SPDX-License-Identifier: Apache-2.0
/** What every `KeyStore` must do. */
import { describe, expect, test } from "vitest";
import { freshStores } from "./store-under-test.contract.ts";
import type { EmptyPlace } from "./store-under-test.contract.ts";

export function keyStoreContract(makePlace: () => Promise<EmptyPlace>): void {
  describe("KeyStore", () => {
    const given = freshStores(makePlace);
    const keys = () => given.store.keys;
    const key = (name: string, material: string) => ({
      name,
      algorithm: "ed25519",
      publicKey: Buffer.from(`public ${material}`),
      sealed: Buffer.from(`sealed ${material}`),
      keyId: "mk-1",
    });

    test("the first key under a name stays, and who comes later is given that one", async () => {
      const attempts = Array.from({ length: 8 }, (_, n) => keys().putIfAbsent(key("ca", `number ${n}`)));
      const stored = await Promise.all(attempts);
      const kept = await keys().get("ca");
      for (const one of stored) expect(one).toEqual(kept);
      expect(await keys().list()).toEqual([kept]);
    });

    test("a key comes back exactly after reopening", async () => {
      await keys().putIfAbsent(key("audit", "x"));
      await given.reopen();
      expect(await keys().get("audit")).toEqual({ ...key("audit", "x"), createdAt: 1000 });
      expect(await keys().get("ca")).toBeUndefined();
    });

    test("a sealed key counts as something sealed", async () => {
      await keys().putIfAbsent({ ...key("audit", "x"), keyId: "mk-2" });
      expect(await given.store.sealedUnder()).toEqual(["mk-2"]);
    });
  });
}
