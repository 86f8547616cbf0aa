// SPDX-License-Identifier: Apache-2.0
import type { AccessConditionSpec } from "@postern/contract";
import { describe, expect, it } from "vitest";
import { condition, problemsOf } from "../policy-fixtures.ts";
import { compileCondition } from "./compile-condition.ts";
import { callerFacts, conditionFacts } from "./condition.fixture.ts";
import type { Verdict } from "./condition-kind.ts";
import { NO_SOURCES, type PostureStatement } from "./facts.ts";

type Spec = Omit<Extract<AccessConditionSpec, { kind: "posture" }>, "kind">;

const statement = (more: Partial<PostureStatement> = {}): PostureStatement => ({
  ...{ source: "edr", facts: { healthy: true, "patch-age": 12 }, observedAt: 0, expiresAt: 60_000 },
  ...more,
});
const HEALTHY: Spec = { facts: [{ name: "healthy", equals: true }] };

function judge(
  spec: Spec,
  said: Record<string, PostureStatement[]>,
  { now = 1000, selectors = ["kubernetes:node=n1"], isLocal = false } = {},
): Verdict {
  const caller = callerFacts({ selectors, ...(isLocal ? { process: { pid: 1 } } : {}) });
  const posture = { of: (subject: string) => said[subject] ?? [] };
  return compileCondition(condition("c", { kind: "posture", ...spec })).judge(
    conditionFacts({ now, caller, sources: { ...NO_SOURCES, posture } }),
  ) as Verdict;
}
const onNode = (...statements: PostureStatement[]) => ({ "kubernetes:node=n1": statements });

describe("posture", () => {
  it("that is as wanted holds until what was said expires", () => {
    expect(judge(HEALTHY, onNode(statement()))).toEqual({
      holds: true,
      words: "healthy is true (edr)",
      validUntil: 60_000,
    });
    expect(judge({ ...HEALTHY, maxAge: 30 }, onNode(statement())).validUntil).toBe(30_000);
  });

  it("is asked of the machine and of every fact about a process here, and of an SVID by its ID", () => {
    const bad = statement({ facts: { healthy: false } });
    const here = { isLocal: true, selectors: ["process:agent=a"] };
    expect(judge(HEALTHY, { machine: [statement()] }, here).holds).toBe(true);
    expect(judge(HEALTHY, { machine: [statement()], "process:agent=a": [bad] }, here).holds).toBe(false);
    const id = "spiffe:id=spiffe://corp/instances/i-1";
    expect(judge(HEALTHY, { [id]: [statement()] }, { selectors: [id] }).holds).toBe(true);
  });

  it.each<[string, Spec, Partial<PostureStatement>]>([
    ["another value", HEALTHY, { facts: { healthy: false } }],
    ["a word for a truth", HEALTHY, { facts: { healthy: "true" } }],
    ["too large a number", { facts: [{ name: "patch-age", max: 10 }] }, {}],
    ["too small a number", { facts: [{ name: "patch-age", min: 13 }] }, {}],
    [
      "a text where a number is wanted",
      { facts: [{ name: "patch-age", max: 99 }] },
      { facts: { "patch-age": "1" } },
    ],
  ])("with %s does not hold", (_name, spec, more) => {
    const verdict = judge(spec, onNode(statement(more)));
    expect(verdict.holds).toBe(false);
    expect(verdict.isUnknown).toBeUndefined();
  });

  it.each<[string, Spec, Record<string, PostureStatement[]>]>([
    ["nobody has said anything", HEALTHY, {}],
    [
      "nobody has said anything of this fact",
      { facts: [{ name: "rooted", equals: false }] },
      onNode(statement()),
    ],
    ["what was said has expired", HEALTHY, onNode(statement({ expiresAt: 1000 }))],
    ["it was seen too long ago", { ...HEALTHY, maxAge: 1 }, onNode(statement())],
    ["it comes from the future", HEALTHY, onNode(statement({ observedAt: 100_000, expiresAt: 200_000 }))],
    ["somebody else has said it", { ...HEALTHY, sources: ["scanner"] }, onNode(statement())],
    ["it was said of another node", HEALTHY, { "kubernetes:node=n2": [statement()] }],
    ["it was said of this machine, and the caller is elsewhere", HEALTHY, { machine: [statement()] }],
  ])("is unknown where %s", (_name, spec, said) => {
    expect(judge(spec, said)).toMatchObject({ holds: false, isUnknown: true });
  });

  it("of this machine is that of its own processes", () => {
    expect(judge(HEALTHY, { machine: [statement()] }, { isLocal: true }).holds).toBe(true);
  });

  it("that one finds right and another wrong does not hold", () => {
    const doubt = statement({ source: "scanner", facts: { healthy: false } });
    expect(judge(HEALTHY, onNode(statement(), doubt)).holds).toBe(false);
    expect(judge({ ...HEALTHY, sources: ["edr"] }, onNode(statement(), doubt)).holds).toBe(true);
    expect(judge(HEALTHY, onNode(statement(), { ...doubt, expiresAt: 500 })).holds).toBe(true);
  });

  it("is looked at again at the first moment at which anything that was said expires", () => {
    const said = onNode(statement({ expiresAt: 9000 }), statement({ source: "b", expiresAt: 5000 }));
    expect(judge(HEALTHY, said).validUntil).toBe(5000);
  });

  it.each<[Spec, string]>([
    [{ facts: [{ name: "patch-age", min: 5, max: 1 }] }, "swap them"],
    [{ facts: [...HEALTHY.facts, ...HEALTHY.facts] }, "join them"],
  ])("%j is refused", (spec, message) => {
    const problems = problemsOf(condition("c", { kind: "posture", ...spec }));
    expect(problems).toMatchObject([{ message: expect.stringContaining(message) as string }]);
  });

  it("does not take a member of every object for a fact", () => {
    expect(judge({ facts: [{ name: "constructor", equals: true }] }, onNode(statement()))).toMatchObject({
      isUnknown: true,
    });
  });
});
