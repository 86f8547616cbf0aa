// SPDX-License-Identifier: Apache-2.0
/** What every `GrantStore` must do. */
import { describe, expect, test } from "vitest";
import { freshStores } from "./store-under-test.contract.ts";
import type { EmptyPlace } from "./store-under-test.contract.ts";

export function grantStoreContract(makePlace: () => Promise<EmptyPlace>): void {
  describe("GrantStore", () => {
    const given = freshStores(makePlace);
    const grants = () => given.store.grants;
    const grant = (id: string, uses = 3) => ({ id, agent: "a", body: "{}", uses, expiresAt: 5000 });

    test("of many who want a use, no more get one than there are, also over a restart", async () => {
      await grants().add(grant("1"), 9);
      const take = () => Promise.all(Array.from({ length: 15 }, () => grants().take("1")));
      expect(await grants().take("1")).toMatchObject({ state: "active", usesLeft: 2 });
      await given.reopen();
      expect((await take()).filter((one) => one !== undefined)).toHaveLength(2);
      expect(await grants().get("1")).toMatchObject({ state: "used", usesLeft: 0 });
    });

    test("nothing is taken of what has expired, was revoked, or is of a clock's future", async () => {
      await grants().add(grant("1"), 9);
      await grants().add(grant("2"), 9);
      expect(await grants().revoke("1")).toBe(true);
      expect(await grants().revoke("1")).toBe(false);
      expect(await grants().take("1")).toBeUndefined();
      given.clock.time = 5000;
      expect(await grants().take("2")).toBeUndefined();
      expect(await grants().usable("a")).toEqual([]);
      given.clock.time = 500_000;
      await grants().add({ ...grant("3"), expiresAt: 900_000 }, 9);
      given.clock.time = 400_000;
      expect(await grants().take("3")).toBeUndefined();
    });

    test("an agent has so many at most, and those of others do not count", async () => {
      expect(await grants().add({ ...grant("0"), agent: "b" }, 2)).toBe(true);
      expect(await grants().add(grant("1"), 2)).toBe(true);
      expect(await grants().add(grant("2"), 2)).toBe(true);
      expect(await grants().add(grant("3"), 2)).toBe(false);
      expect((await grants().usable("a")).map(({ id }) => id)).toEqual(["1", "2"]);
    });

    test("what expires is told once, and is forgotten later", async () => {
      await grants().add(grant("1"), 9);
      given.clock.time = 6000;
      const told = (await Promise.all([grants().expire(0), grants().expire(0)])).flat();
      expect(told.map(({ id, state }) => [id, state])).toEqual([["1", "expired"]]);
      expect(await grants().list("active", 9)).toEqual([]);
      expect(await grants().list("all", 9)).toHaveLength(1);
      await grants().expire(6001);
      expect(await grants().get("1")).toBeUndefined();
    });
  });
}
