// SPDX-License-Identifier: Apache-2.0
/** What every `EvidenceStore` must do. */
import { describe, expect, test } from "vitest";
import { freshStores } from "./store-under-test.contract.ts";
import type { EmptyPlace } from "./store-under-test.contract.ts";

export function evidenceStoreContract(makePlace: () => Promise<EmptyPlace>): void {
  describe("EvidenceStore", () => {
    const given = freshStores(makePlace);
    const evidence = () => given.store.evidence;

    test("of many who use one evidence at the same time one succeeds", async () => {
      const uses = await Promise.all(Array.from({ length: 20 }, () => evidence().useOnce("a", 5000)));
      expect(uses.filter((isFirst) => isFirst)).toHaveLength(1);
    });

    test("a use is remembered after reopening", async () => {
      expect(await evidence().useOnce("a", 5000)).toBe(true);
      await given.reopen();
      expect(await evidence().useOnce("a", 5000)).toBe(false);
      expect(await evidence().useOnce("b", 5000)).toBe(true);
    });

    test("a use is forgotten an hour after the evidence has expired, because clocks differ, and not before", async () => {
      await evidence().useOnce("a", 5000);
      for (const time of [4999, 5000, 3_604_999, 4000]) {
        given.clock.time = time;
        // A server whose clock is an hour ahead forgets what is over for it.
        // eslint-disable-next-line no-await-in-loop
        await evidence().useOnce(`other at ${time}`, 9_000_000);
        // eslint-disable-next-line no-await-in-loop
        expect(await evidence().useOnce("a", 9000), String(time)).toBe(false);
      }
      given.clock.time = 3_605_000;
      expect(await evidence().useOnce("a", 9000)).toBe(true);
    });
  });
}
