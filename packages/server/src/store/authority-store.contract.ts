// SPDX-License-Identifier: Apache-2.0
/** What every `AuthorityStore` must do. */
import { describe, expect, test } from "vitest";
import type { StoredAuthority } from "./authority-store.ts";
import { freshStores } from "./store-under-test.contract.ts";
import type { EmptyPlace } from "./store-under-test.contract.ts";

export function authorityStoreContract(makePlace: () => Promise<EmptyPlace>): void {
  describe("AuthorityStore", () => {
    const given = freshStores(makePlace);
    const authorities = () => given.store.authorities;
    const authority = (more: Partial<StoredAuthority> = {}): StoredAuthority => ({
      trustDomain: "corp",
      kind: "x509",
      generation: 1,
      state: "prepared",
      published: Buffer.from([1, 2, 3]),
      notBefore: 1,
      notAfter: 2,
      createdAt: 3,
      changedAt: 4,
      ...more,
    });

    test("of two changes that start from the same epoch one is stored, and the other is told", async () => {
      const { epoch } = await authorities().snapshot("corp");
      const attempts = [1, 2, 3, 4].map((at) =>
        authorities().put([authority({ published: Buffer.from([at]) })], epoch),
      );
      const done = await Promise.all(attempts);
      expect(done.filter(Boolean)).toEqual([true]);
      const after = await authorities().snapshot("corp");
      expect(after.epoch).toBe(epoch + 1);
      expect(after.authorities).toEqual([authority({ published: Buffer.from([done.indexOf(true) + 1]) })]);
    });

    test("a change that comes too late changes nothing at all", async () => {
      const { epoch } = await authorities().snapshot("corp");
      expect(await authorities().put([authority()], epoch)).toBe(true);
      const late = [authority({ state: "revoked" }), authority({ generation: 2 })];
      expect(await authorities().put(late, epoch)).toBe(false);
      expect(await authorities().snapshot("corp")).toEqual({ epoch: epoch + 1, authorities: [authority()] });
    });

    test("an authority comes back exactly after reopening, and a later state takes the earlier one's place", async () => {
      const { epoch } = await authorities().snapshot("corp");
      const signed = authority({ generation: 2, chain: Buffer.from([4, 5]) });
      await authorities().put([authority(), signed], epoch);
      await authorities().put([authority({ state: "active", changedAt: 9 })], epoch + 1);
      await given.reopen();
      expect(await authorities().snapshot("corp")).toEqual({
        epoch: epoch + 2,
        authorities: [authority({ state: "active", changedAt: 9 }), signed],
      });
    });

    test("trust domains and kinds are apart, and the epoch counts the changes of all", async () => {
      const [jwt, wit] = [authority({ kind: "jwt" }), authority({ kind: "wit" })];
      const { epoch } = await authorities().snapshot("corp");
      await authorities().put([authority(), wit, jwt], epoch);
      await authorities().put([authority({ trustDomain: "lab" })], epoch + 1);
      expect(await authorities().snapshot("corp")).toEqual({
        epoch: epoch + 2,
        authorities: [jwt, wit, authority()],
      });
      expect((await authorities().snapshot("lab")).authorities).toEqual([authority({ trustDomain: "lab" })]);
      expect((await given.store.epochs()).authorities).toBe(epoch + 2);
    });
  });
}
