// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import { selectorsOf } from "./selectors.ts";

describe("selectorsOf", () => {
  const facts = {
    pid: 7,
    startTime: 1n,
    uid: 1000,
    gid: 100,
    path: "/bin/agent",
    pathVerified: true,
    deleted: false,
    cgroup: "/user.slice",
    fileKey: "k",
  };
  const run = { id: "abc", isolated: true };

  const paths = (more: object) =>
    [...selectorsOf({ ...facts, ...more }, run)].filter((each) => each.includes(":path="));

  test("a path that is not verified, or deleted, gives no path selector", () => {
    expect(paths({})).toEqual(["process:path=/bin/agent"]);
    expect(paths({ pathVerified: false })).toEqual([]);
    expect(paths({ deleted: true })).toEqual([]);
  });

  test("names the agent only where the operator did", () => {
    expect(selectorsOf(facts, run).has("process:agent=x")).toBe(false);
    expect([...selectorsOf(facts, { ...run, agent: "x" })]).toEqual([
      "process:uid=1000",
      "process:gid=100",
      "process:run=abc",
      "process:isolated=true",
      "process:path=/bin/agent",
      "process:cgroup=/user.slice",
      "process:agent=x",
    ]);
  });

  test("says nothing of a run about a process that is in none", () => {
    expect([...selectorsOf(facts, undefined)].filter((each) => /run|isolated|agent=/.test(each))).toEqual([]);
  });
});
