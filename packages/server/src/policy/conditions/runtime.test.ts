// SPDX-License-Identifier: Apache-2.0
import type { AccessConditionSpec } from "@postern/contract";
import { describe, expect, it } from "vitest";
import { condition, problemsOf } from "../policy-fixtures.ts";
import { compileCondition } from "./compile-condition.ts";
import { callerFacts, conditionFacts } from "./condition.fixture.ts";
import type { Verdict } from "./condition-kind.ts";
import { NO_SOURCES, type RuntimeFacts } from "./facts.ts";

type Spec = Omit<Extract<AccessConditionSpec, { kind: "runtime" }>, "kind">;

const CONFINED: RuntimeFacts = {
  capabilities: [],
  noNewPrivileges: true,
  seccomp: true,
  readOnlyRoot: true,
  sharedNamespaces: ["ipc", "uts"],
  maxMemoryBytes: 2 ** 30,
  maxProcesses: 50,
};

const at = (spec: Spec, now: number, seen: RuntimeFacts): Verdict =>
  compiled(spec).judge(
    conditionFacts({
      now,
      caller: callerFacts({ process: { pid: 7 } }),
      sources: { ...NO_SOURCES, runtime: { of: () => seen } },
    }),
  ) as Verdict;
const compiled = (spec: Spec) => compileCondition(condition("c", { kind: "runtime", ...spec }));
const judge = (spec: Spec, seen: RuntimeFacts): Verdict => at(spec, 0, seen);

describe("a process that must be confined", () => {
  it.each<[string, Spec, Partial<RuntimeFacts>, string]>([
    ["has a capability", { capabilities: [] }, { capabilities: ["CAP_SYS_ADMIN"] }, "it has CAP_SYS_ADMIN"],
    [
      "has one more than it may",
      { capabilities: ["CAP_NET_RAW"] },
      { capabilities: ["CAP_NET_RAW", "CAP_63"] },
      "it has CAP_63",
    ],
    ["may gain rights", { noNewPrivileges: true }, { noNewPrivileges: false }, "without no_new_privs"],
    ["has no filter", { seccomp: true }, { seccomp: false }, "without a seccomp filter"],
    ["may write its root", { readOnlyRoot: true }, { readOnlyRoot: false }, "without a read-only root"],
    [
      "is in the network of the host",
      { ownNamespaces: ["network", "pid"] },
      { sharedNamespaces: ["network"] },
      "shares this server's namespaces: network",
    ],
    [
      "has no limit",
      { maxMemoryBytes: 2 ** 30 },
      { maxMemoryBytes: Infinity },
      "no limit of bytes of memory",
    ],
    ["has a larger one", { maxProcesses: 99 }, { maxProcesses: 100 }, "its limit is 100 processes"],
  ])("is refused where it %s", (_name, spec, seen, words) => {
    const verdict = judge(spec, { ...CONFINED, ...seen });
    expect(verdict).toMatchObject({ holds: false, words: expect.stringContaining(words) as string });
    expect(verdict.isUnknown).toBeUndefined();
    expect(judge(spec, CONFINED).holds).toBe(true);
  });

  it.each<Spec>([
    { capabilities: [] },
    { noNewPrivileges: true },
    { seccomp: true },
    { readOnlyRoot: true },
    { ownNamespaces: ["user"] },
    { maxMemoryBytes: 2 ** 40 },
    { maxProcesses: 4_000_000 },
  ])("is unknown where the kernel does not tell: %j", (spec) => {
    expect(judge(spec, {})).toMatchObject({ holds: false, isUnknown: true });
  });

  it("is unknown where it runs elsewhere", () => {
    const verdict = compiled({ seccomp: true }).judge(conditionFacts());
    expect(verdict).toMatchObject({ holds: false, isUnknown: true });
  });

  it("is looked at again a second later", () => {
    expect(at({ seccomp: true }, 5000, CONFINED).validUntil).toBe(6000);
    expect(at({ seccomp: true }, 5000, {}).validUntil).toBe(6000);
  });
});

it("a capability that there is not is refused", () => {
  const problems = problemsOf(condition("c", { kind: "runtime", capabilities: ["CAP_NET_BIND"] }));
  expect(problems).toMatchObject([{ path: ["spec", "capabilities", 0] }]);
});
