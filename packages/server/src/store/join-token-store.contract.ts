// SPDX-License-Identifier: Apache-2.0
/** What every `JoinTokenStore` must do. */
import { describe, expect, test } from "vitest";
import { freshStores } from "./store-under-test.contract.ts";
import type { EmptyPlace } from "./store-under-test.contract.ts";

export function joinTokenStoreContract(makePlace: () => Promise<EmptyPlace>): void {
  describe("JoinTokenStore", () => {
    const given = freshStores(makePlace);
    const tokens = () => given.store.joinTokens;
    const token = { digest: "d", provider: "p", name: "web-1", expiresAt: 5000 };

    test("of many who redeem a token at the same time one gets it", async () => {
      await tokens().add(token);
      const all = await Promise.all(Array.from({ length: 20 }, () => tokens().redeem("p", "d")));
      expect(all.filter((one) => one !== undefined)).toEqual([token]);
    });

    test("a token is another provider's to redeem only if it was made for it", async () => {
      await tokens().add(token);
      expect(await tokens().redeem("q", "d")).toBeUndefined();
      await given.reopen();
      expect(await tokens().redeem("p", "d")).toEqual(token);
    });

    test("a token that has expired is nobody's", async () => {
      await tokens().add(token);
      given.clock.time = 5000;
      expect(await tokens().redeem("p", "d")).toBeUndefined();
    });
  });
}
