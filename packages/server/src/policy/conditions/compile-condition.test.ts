// SPDX-License-Identifier: Apache-2.0
import type { AccessConditionSpec } from "@postern/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { condition } from "../policy-fixtures.ts";
import { compileCondition } from "./compile-condition.ts";
import type { Verdict } from "./condition-kind.ts";
import { callerFacts, conditionFacts } from "./condition.fixture.ts";
import { type CallerFacts, type ConditionFacts, NO_SOURCES, type Whereabouts } from "./facts.ts";
import { judgeConditions, NOTHING_TO_JUDGE, type Judgement } from "./judge-conditions.ts";

const hours = compileCondition(condition("hours", { kind: "time", zone: "UTC", hours: ["09:00-17:00"] }));
const days = compileCondition(condition("days", { kind: "time", zone: "UTC", weekdays: ["thursday"] }));
const HOUR = 3_600_000;

describe("judging", () => {
  it("nothing costs nothing", () => {
    expect(judgeConditions([], conditionFacts())).toBe(NOTHING_TO_JUDGE);
  });

  it("holds until the first of them may change", () => {
    // 1970-01-01 was a Thursday.
    expect(judgeConditions([days, hours], conditionFacts({ now: 10 * HOUR }))).toMatchObject({
      holding: ["days", "hours"],
      unknown: [],
      validUntil: 17 * HOUR,
    });
    expect(judgeConditions([days, hours], conditionFacts({ now: 17 * HOUR }))).toMatchObject({
      holding: ["days"],
    });
  });

  it("what cannot be judged is unknown, and everything else is judged", () => {
    const broken = {
      ...hours,
      name: "broken",
      judge: () => hours.judge(conditionFacts({ now: Number.NaN })),
    };
    const judgement = judgeConditions([broken, days], conditionFacts()) as Judgement;
    expect(judgement).toMatchObject({ holding: ["days"], unknown: ["broken"] });
  });

  it("does not take what was found later for what is so now, where a clock is set back", () => {
    const caller = callerFacts();
    expect(judgeConditions([hours], conditionFacts({ caller, now: 16 * HOUR }))).toMatchObject({
      holding: ["hours"],
    });
    expect(judgeConditions([hours], conditionFacts({ caller, now: 8 * HOUR }))).toMatchObject({
      holding: [],
    });
  });
});

describe("a finding that is kept", () => {
  const SPECS: AccessConditionSpec[] = [
    { kind: "time", zone: "Europe/Berlin", hours: ["09:00-17:00"], weekdays: ["thursday", "friday"] },
    { kind: "region", of: "caller", countries: ["DE"] },
    { kind: "region", of: "machine", networks: ["192.0.2.0/24"] },
    { kind: "attested", anyOf: ["x:y=1"], noneOf: ["x:y=2"] },
    { kind: "delegation", maxDepth: 1, subjects: ["somebody"] },
    { kind: "runtime", capabilities: [] },
    { kind: "request", methods: ["POST"] },
  ];
  const callers: CallerFacts[] = [
    callerFacts({ selectors: ["x:y=1"], process: { pid: 1 } }),
    callerFacts({ selectors: ["x:y=1", "x:y=2"], process: { pid: 2 } }),
    callerFacts({ address: "192.0.2.1", delegation: { subject: "somebody", depth: 1 } }),
    callerFacts({ address: "198.51.100.1", delegation: { subject: "somebody", depth: 2 } }),
    callerFacts({ address: "198.51.100.1", delegation: { subject: "another", depth: 1 } }),
  ];
  const step = fc.record({
    caller: fc.constantFrom(...callers),
    // Steps of time in both directions, over edges of hours and days.
    elapses: fc.constantFrom(0, 1, 999, 1000, HOUR, 8 * HOUR, 24 * HOUR, -1, -9 * HOUR),
    country: fc.option(fc.constantFrom("DE", "FR"), { nil: undefined }),
    capabilities: fc.constantFrom<readonly string[]>([], ["CAP_SYS_ADMIN"]),
    method: fc.constantFrom("GET", "POST"),
  });

  it("is what would be found now, whoever calls, whatever the time and whichever fact has changed", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 2, maxLength: 30 }), (steps) => {
        const kept = SPECS.map((spec) => compileCondition(condition("c", spec)));
        let [now, revision, last] = [10 * HOUR, 0, ""];
        for (const { caller, elapses, country, capabilities, method } of steps) {
          now += elapses;
          // What a source says changes with a new revision, or within the second for which a process is believed.
          const said = JSON.stringify([country, capabilities]);
          if (said !== last) revision++;
          last = said;
          const place: Whereabouts | undefined = country === undefined ? undefined : { country };
          const facts: ConditionFacts = conditionFacts({
            ...{ now, caller, request: { agent: "a", serverWorkload: "s", method, path: "/" } },
            sources: {
              ...NO_SOURCES,
              revision,
              regions: { locate: () => place, machine: country === "DE" ? ["192.0.2.9"] : [] },
              runtime: { of: (pid) => ({ capabilities: pid === 1 ? capabilities : [] }) },
            },
          });
          for (const [index, spec] of SPECS.entries()) {
            const fresh = compileCondition(condition("c", spec)).judge(facts) as Verdict;
            const { holds, isUnknown } = kept[index]!.judge(facts) as Verdict;
            expect([spec.kind, holds, isUnknown]).toEqual([spec.kind, fresh.holds, fresh.isUnknown]);
          }
        }
      }),
      { numRuns: 120 },
    );
  });

  it("of a process is asked for again after a second, though no source has said that it changed", () => {
    const confined = compileCondition(condition("c", { kind: "runtime", capabilities: [] }));
    const caller = callerFacts({ process: { pid: 1 } });
    let capabilities: readonly string[] = [];
    const at = (now: number): boolean =>
      (
        confined.judge(
          conditionFacts({
            now,
            caller,
            sources: { ...NO_SOURCES, runtime: { of: () => ({ capabilities }) } },
          }),
        ) as Verdict
      ).holds;
    expect(at(5000)).toBe(true);
    capabilities = ["CAP_SYS_ADMIN"];
    expect(at(5999)).toBe(true);
    expect(at(6000)).toBe(false);
  });

  it("that nobody could tell is asked for each time", () => {
    const abroad = compileCondition(condition("c", { kind: "region", of: "caller", countries: ["DE"] }));
    const caller = callerFacts({ address: "192.0.2.1" });
    let place: Whereabouts | undefined;
    const judged = (): Verdict => {
      const regions = { locate: () => place, machine: [] };
      return abroad.judge(conditionFacts({ caller, sources: { ...NO_SOURCES, regions } })) as Verdict;
    };
    expect(judged().isUnknown).toBe(true);
    place = { country: "DE" };
    expect(judged().holds).toBe(true);
  });
});
