// SPDX-License-Identifier: Apache-2.0
import type { Resource } from "@postern/contract";
import { expect, test } from "vitest";
import { changeText, diffResource, diffSets } from "./diff.ts";
import { ResourceSet } from "./resource-set.ts";

const policy = (models: string[], description?: string): Resource => ({
  kind: "AccessPolicy",
  metadata: { name: "p", ...(description === undefined ? {} : { description }) },
  spec: { agents: ["a"], serverWorkload: "s", credentialProvider: "k", allow: { models } },
});
const provider = (name: string): Resource => ({
  kind: "TrustProvider",
  metadata: { name },
  spec: { kind: "process" },
});

test("a change names each path with its old and new value", () => {
  expect(changeText(diffResource(policy(["x"]), policy(["x", "y"], "text")))).toBe(
    'changed AccessPolicy p\n  metadata.description: (none) → "text"\n  spec.allow.models: ["x"] → ["x","y"]\n',
  );
});

test("another order of keys is no change, another order of a list is one", () => {
  const reordered: Resource = { spec: { kind: "process" }, metadata: { name: "t" }, kind: "TrustProvider" };
  expect(diffResource(provider("t"), reordered).change).toBe("unchanged");
  expect(diffResource(policy(["x", "y"]), policy(["y", "x"])).change).toBe("changed");
});

test("long values are shortened", () => {
  expect(changeText(diffResource(policy(["x"]), policy(["y".repeat(1000)])))).toContain(
    "… (1004 characters)",
  );
});

test("sets are compared by kind and name", () => {
  const before = new ResourceSet([provider("gone"), provider("same"), policy(["x"])]);
  const after = before.with({
    put: [provider("new"), policy(["y"])],
    remove: [{ kind: "TrustProvider", name: "gone" }],
  });
  expect(diffSets(before, after).map((change) => changeText(change).split("\n")[0])).toEqual([
    "created TrustProvider new",
    "unchanged TrustProvider same",
    "changed AccessPolicy p",
    "deleted TrustProvider gone",
  ]);
  expect(before.get("TrustProvider", "gone")).toBeDefined();
});

test("a removal and a put of the same name in one change puts", () => {
  const set = ResourceSet.empty.with({
    put: [provider("a")],
    remove: [{ kind: "TrustProvider", name: "a" }],
  });
  expect(set.all("TrustProvider")).toHaveLength(1);
  expect(set.get("Agent", "a")).toBeUndefined();
});
