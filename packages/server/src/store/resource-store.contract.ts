// SPDX-License-Identifier: Apache-2.0
/** What every `ResourceStore` must do. */
import type { Resource } from "@postern/contract";
import { describe, expect, test } from "vitest";
import { freshStores } from "./store-under-test.contract.ts";
import type { EmptyPlace } from "./store-under-test.contract.ts";

const trustProvider = (name: string): Resource => ({
  kind: "TrustProvider",
  metadata: { name },
  spec: { kind: "process" },
});
const agent = (name: string, purpose = "answers mail"): Resource => ({
  kind: "Agent",
  metadata: { name },
  spec: { trustProvider: "local", selectors: ["process:uid=1000"], purpose },
});

export function resourceStoreContract(makePlace: () => Promise<EmptyPlace>): void {
  describe("ResourceStore", () => {
    const given = freshStores(makePlace);
    const resources = () => given.store.resources;

    test("one bad change of many leaves everything as it was", async () => {
      await resources().replace({ put: [agent("kept")], delete: [] });
      const unwritable = { ...agent("late"), metadata: { name: null } } as unknown as Resource;
      await expect(
        resources().replace({
          put: [agent("early"), unwritable],
          delete: [{ kind: "Agent", name: "kept" }],
        }),
      ).rejects.toThrow();
      const { epoch, resources: left } = await resources().snapshot();
      expect(epoch).toBe(1);
      expect(left.map(({ resource }) => resource.metadata.name)).toEqual(["kept"]);
    });

    test("a change on top of an outdated epoch is refused and changes nothing", async () => {
      const { epoch } = await resources().replace({ put: [agent("a")], delete: [] });
      await resources().replace({ put: [agent("b")], delete: [] }, epoch);
      await expect(resources().replace({ put: [agent("c")], delete: [] }, epoch)).rejects.toMatchObject({
        code: "resource_conflict",
      });
      await expect(resources().replace({ put: [], delete: [] }, epoch)).rejects.toMatchObject({
        code: "resource_conflict",
      });
      expect(await resources().get("Agent", "c")).toBeUndefined();
      expect(await resources().epoch()).toBe(epoch + 1);
    });

    test("of concurrent changes on the same epoch exactly one wins", async () => {
      const attempts = Array.from({ length: 8 }, (_, n) =>
        resources().replace({ put: [agent(`racer-${n}`)], delete: [] }, 0),
      );
      const settled = await Promise.allSettled(attempts);
      expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      expect(await resources().list()).toHaveLength(1);
      expect(await resources().epoch()).toBe(1);
    });

    test("the same resource twice in one step is refused", async () => {
      const twice = { put: [agent("a")], delete: [{ kind: "Agent", name: "a" } as const] };
      await expect(resources().replace(twice)).rejects.toMatchObject({ code: "resource_invalid" });
      await expect(
        resources().replace({ put: [agent("a"), agent("a", "another")], delete: [] }),
      ).rejects.toMatchObject({ code: "resource_invalid" });
      expect(await resources().epoch()).toBe(0);
    });

    test("a change gives a new version and a new time, and keeps the time of creation", async () => {
      await resources().replace({ put: [agent("a")], delete: [] });
      given.clock.time = 2000;
      await resources().replace({ put: [agent("a", "answers chats")], delete: [] });
      expect(await resources().get("Agent", "a")).toEqual({
        resource: agent("a", "answers chats"),
        version: 2,
        createdAt: 1000,
        updatedAt: 2000,
      });
    });

    test("a deleted resource is gone, deleting it again is no error, and each step counts", async () => {
      await resources().replace({ put: [agent("a")], delete: [] });
      const gone = { put: [], delete: [{ kind: "Agent", name: "a" } as const] };
      expect(await resources().replace(gone)).toEqual({ epoch: 2 });
      expect(await resources().get("Agent", "a")).toBeUndefined();
      expect(await resources().replace(gone)).toEqual({ epoch: 3 });
      expect(await resources().replace({ put: [], delete: [] })).toEqual({ epoch: 3 });
    });

    test("kinds do not share names, and the list comes in order of reference", async () => {
      await resources().replace({ put: [agent("b"), agent("a"), trustProvider("b")], delete: [] });
      const listed = await resources().list();
      expect(listed.map(({ resource }) => `${resource.kind} ${resource.metadata.name}`)).toEqual([
        "TrustProvider b",
        "Agent a",
        "Agent b",
      ]);
    });

    test("text comes back exactly, whatever it contains", async () => {
      const odd = agent("odd", "'; drop table resources; -- \u0000 \u{1f511} ${x} \\");
      await resources().replace({ put: [odd], delete: [] });
      await given.reopen();
      expect((await resources().get("Agent", "odd"))?.resource).toEqual(odd);
      expect(await resources().epoch()).toBe(1);
    });
  });
}
