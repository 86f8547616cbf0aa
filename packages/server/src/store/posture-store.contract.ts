// SPDX-License-Identifier: Apache-2.0
/** What every `PostureStore` must do. */
import { describe, expect, test } from "vitest";
import { freshStores } from "./store-under-test.contract.ts";
import type { EmptyPlace } from "./store-under-test.contract.ts";

export function postureStoreContract(makePlace: () => Promise<EmptyPlace>): void {
  describe("PostureStore", () => {
    const given = freshStores(makePlace);
    const posture = () => given.store.posture;
    const report = (more: object = {}) => ({
      ...{
        subject: "kubernetes:node=n1",
        source: "scanner",
        facts: { critical: 3, healthy: false, os: "x" },
      },
      ...{ observedAt: 900, expiresAt: 5000 },
      ...more,
    });

    test("the last report of a source stays, also when the store is opened again", async () => {
      expect(await posture().put(report(), 10)).toBe("kept");
      expect(await posture().put(report({ facts: { critical: 0 } }), 10)).toBe("kept");
      expect(await posture().put(report({ source: "edr" }), 10)).toBe("kept");
      await given.reopen();
      expect(await posture().list()).toEqual([report({ source: "edr" }), report({ facts: { critical: 0 } })]);
    });

    test("a report that was seen earlier than the one that is there changes nothing", async () => {
      await posture().put(report(), 10);
      expect(await posture().put(report({ observedAt: 899, facts: { critical: 0 } }), 10)).toBe("older");
      expect(await posture().list()).toEqual([report()]);
    });

    test("what has expired is not there", async () => {
      await posture().put(report(), 10);
      given.clock.time = 5000;
      expect(await posture().list()).toEqual([]);
      expect(await posture().put(report({ expiresAt: 6000 }), 10)).toBe("kept");
    });

    test("without facts nothing is left of what the source said", async () => {
      await posture().put(report(), 10);
      expect(await posture().put(report({ facts: {} }), 10)).toBe("kept");
      expect(await posture().list()).toEqual([]);
    });

    test("when it is full what is there can still be replaced", async () => {
      await posture().put(report(), 1);
      expect(await posture().put(report({ source: "edr" }), 1)).toBe("full");
      expect(await posture().put(report({ facts: { critical: 0 } }), 1)).toBe("kept");
      expect(await posture().list()).toHaveLength(1);
    });

    test("of many reports of one source at once one stays, the latest", async () => {
      await Promise.all(
        Array.from({ length: 10 }, (_, index) => posture().put(report({ observedAt: 900 + index }), 10)),
      );
      expect(await posture().list()).toEqual([report({ observedAt: 909 })]);
    });

    test("each change is told to whoever shares the store", async () => {
      const before = (await given.store.epochs()).posture;
      await posture().put(report(), 10);
      expect((await given.store.epochs()).posture).toBeGreaterThan(before);
    });
  });
}
