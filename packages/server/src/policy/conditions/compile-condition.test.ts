// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { condition } from "../policy-fixtures.ts";
import { compileCondition } from "./compile-condition.ts";
import { callerFacts, conditionFacts } from "./condition.fixture.ts";
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
