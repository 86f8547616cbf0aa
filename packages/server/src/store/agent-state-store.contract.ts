// SPDX-License-Identifier: Apache-2.0
/** What every `AgentStateStore` must do. */
import { describe, expect, test } from "vitest";
import { freshStores } from "./store-under-test.contract.ts";
import type { EmptyPlace } from "./store-under-test.contract.ts";

export function agentStateStoreContract(makePlace: () => Promise<EmptyPlace>): void {
  describe("AgentStateStore", () => {
    const given = freshStores(makePlace);
    const states = () => given.store.agentStates;
    const cut = { agent: "a", state: "cut", reason: "leaked a key", changedBy: "uid 0" } as const;

    test("a cut agent stays cut after reopening, and when its resource is made anew", async () => {
      await states().set(cut);
      await given.store.resources.replace({ put: [], delete: [{ kind: "Agent", name: "a" }] });
      await given.reopen();
      expect(await states().get("a")).toEqual({ ...cut, changedAt: 1000 });
    });

    test("the last change counts", async () => {
      await states().set(cut);
      given.clock.time = 2000;
      const restored = { ...cut, state: "active", reason: "key replaced", changedBy: "uid 7" } as const;
      expect(await states().set(restored)).toEqual({ ...restored, changedAt: 2000 });
      expect(await states().list()).toEqual([{ ...restored, changedAt: 2000 }]);
    });

    test("an agent that never was cut has no state", async () => {
      await states().set(cut);
      expect(await states().get("b")).toBeUndefined();
    });

    test("the list is sorted by name", async () => {
      for (const agent of ["b", "a-b", "a"]) await states().set({ ...cut, agent });
      expect((await states().list()).map(({ agent }) => agent)).toEqual(["a", "a-b", "b"]);
    });
  });
}
