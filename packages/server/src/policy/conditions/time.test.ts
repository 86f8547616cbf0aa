// SPDX-License-Identifier: Apache-2.0
import type { ConditionSpecOf } from "@postern/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { conditionFacts } from "./condition.fixture.ts";
import type { Verdict } from "./condition-kind.ts";
import { time } from "./time.ts";

type Spec = Omit<ConditionSpecOf<"time">, "kind">;

const at = (spec: Spec, instant: string | number): Verdict =>
  time.judge({ kind: "time", ...spec })(conditionFacts({ now: new Date(instant).getTime() })) as Verdict;
const holds = (spec: Spec, instant: string): boolean => at(spec, instant).holds;
const until = (spec: Spec, instant: string): string =>
  new Date(at(spec, instant).validUntil ?? Number.NaN).toISOString();

const berlin = { zone: "Europe/Berlin", hours: ["09:00-17:00"] };
const workdays = { weekdays: ["monday", "tuesday", "wednesday", "thursday", "friday"] } as const;
const business: Spec = { ...berlin, weekdays: [...workdays.weekdays] };

describe("business hours", () => {
  it.each([
    ["a minute too early", "2026-11-20T07:59:00Z", false],
    ["the first millisecond", "2026-11-20T08:00:00Z", true],
    ["the last millisecond", "2026-11-20T15:59:59.999Z", true],
    ["the end", "2026-11-20T16:00:00Z", false],
    ["a Saturday", "2026-11-21T10:00:00Z", false],
    ["the same hour in summer, when clocks are ahead", "2026-07-01T07:00:00Z", true],
  ])("at %s", (_name, instant, expected) => {
    expect(holds(business, instant)).toBe(expected);
  });

  it("say what they saw, what they wanted, and until when that is so", () => {
    expect(at(business, "2026-11-20T16:00:00Z")).toEqual({
      holds: false,
      words:
        "it is friday 2026-11-20 17:00:00 in Europe/Berlin; wanted on monday, tuesday, wednesday, thursday, friday 09:00-17:00",
      validUntil: Date.parse("2026-11-21T16:00:00Z"),
    });
    expect(until(business, "2026-11-20T15:30:00Z")).toBe("2026-11-20T16:00:00.000Z");
    expect(until(business, "2026-11-22T23:30:00Z")).toBe("2026-11-23T08:00:00.000Z");
  });

  it("end a second after the last one in zones that are not whole hours from UTC", () => {
    const kathmandu = { zone: "Asia/Kathmandu", hours: ["09:00-17:00"] };
    expect(until(kathmandu, "2026-11-20T11:14:59.999Z")).toBe("2026-11-20T11:15:00.000Z");
    expect(holds(kathmandu, "2026-11-20T11:15:00Z")).toBe(false);
  });
});

describe("when clocks change", () => {
  const night = { zone: "Europe/Berlin", hours: ["02:00-03:00"] };

  it("an hour that is skipped does not come", () => {
    // 2026-03-29: 02:00 is followed by 03:00, at 01:00Z.
    for (let minute = -120; minute < 120; minute++)
      expect(at(night, Date.parse("2026-03-29T01:00:00Z") + minute * 60_000).holds).toBe(false);
    expect(holds(night, "2026-03-28T01:30:00Z")).toBe(true);
  });

  it("an hour that is shown twice holds twice", () => {
    // 2026-10-25: 03:00 is followed by 02:00, at 01:00Z.
    expect(until(night, "2026-10-24T23:59:00Z")).toBe("2026-10-25T00:00:00.000Z");
    expect(holds(night, "2026-10-25T00:30:00Z")).toBe(true);
    expect(holds(night, "2026-10-25T01:30:00Z")).toBe(true);
    expect(until(night, "2026-10-25T00:30:00Z")).toBe("2026-10-25T02:00:00.000Z");
  });

  it("hours that the jump cuts short end at the jump", () => {
    const late = { zone: "Europe/Berlin", hours: ["01:00-02:30"] };
    expect(until(late, "2026-03-29T00:30:00Z")).toBe("2026-03-29T01:00:00.000Z");
    const shown = { zone: "Europe/Berlin", hours: ["02:30-04:00"] };
    expect(until(shown, "2026-10-25T00:40:00Z")).toBe("2026-10-25T01:00:00.000Z");
    expect(until(shown, "2026-10-25T01:10:00Z")).toBe("2026-10-25T01:30:00.000Z");
  });

  it("a day that a zone leaves out does not come", () => {
    // Samoa went over the date line: after 2011-12-29 came 2011-12-31.
    const spec = { zone: "Pacific/Apia", from: "2011-12-30", until: "2011-12-30" };
    for (let hour = -48; hour < 48; hour++)
      expect(at(spec, Date.parse("2011-12-30T10:00:00Z") + hour * 3_600_000).holds).toBe(false);
  });
});

describe("hours over midnight", () => {
  const fridayNight: Spec = { zone: "UTC", weekdays: ["friday"], hours: ["22:00-06:00"] };

  it("belong to the day on which they begin", () => {
    expect(holds(fridayNight, "2026-11-20T23:00:00Z")).toBe(true);
    expect(holds(fridayNight, "2026-11-21T05:59:59Z")).toBe(true);
    expect(holds(fridayNight, "2026-11-21T06:00:00Z")).toBe(false);
    expect(holds(fridayNight, "2026-11-20T05:00:00Z")).toBe(false);
    expect(until(fridayNight, "2026-11-20T23:00:00Z")).toBe("2026-11-21T06:00:00.000Z");
  });

  it("of a holiday do not hold, those that began the day before do", () => {
    const spec = { ...fridayNight, weekdays: undefined, holidays: ["2026-11-21"] };
    expect(holds(spec as Spec, "2026-11-21T05:00:00Z")).toBe(true);
    expect(holds(spec as Spec, "2026-11-21T23:00:00Z")).toBe(false);
    expect(holds(spec as Spec, "2026-11-22T05:00:00Z")).toBe(false);
  });

  it("may end with the day", () => {
    const spec = { zone: "UTC", hours: ["22:00-24:00"] };
    expect(holds(spec, "2026-11-20T23:59:59.999Z")).toBe(true);
    expect(holds(spec, "2026-11-21T00:00:00Z")).toBe(false);
  });
});

describe("dates", () => {
  it("are those of the zone, both included", () => {
    const spec = { zone: "Pacific/Auckland", from: "2026-12-01", until: "2026-12-01" };
    expect(holds(spec, "2026-11-30T10:59:59Z")).toBe(false);
    expect(holds(spec, "2026-11-30T11:00:00Z")).toBe(true);
    expect(holds(spec, "2026-12-01T10:59:59Z")).toBe(true);
    expect(holds(spec, "2026-12-01T11:00:00Z")).toBe(false);
  });
});

const problemsOf = (spec: Spec): string[] =>
  (time.problems?.({ kind: "time", ...spec }) ?? []).map(
    ({ path, message }) => `${path.join(".")}: ${message}`,
  );

describe("refused is", () => {
  it.each<[string, Spec, string]>([
    ["a zone that is none", { zone: "Europe/Berln", from: "2026-01-01" }, "did you mean `Europe/Berlin`?"],
    ["an empty span", { zone: "UTC", hours: ["09:00-09:00"] }, "begins where it ends"],
    ["an end before the beginning", { zone: "UTC", from: "2026-02-01", until: "2026-01-01" }, "swap them"],
    [
      "a weekday that the dates leave out",
      { zone: "UTC", from: "2026-11-21", until: "2026-11-22", weekdays: ["monday"] },
      "would never hold",
    ],
    [
      "dates that are all holidays",
      { zone: "UTC", from: "2026-11-21", until: "2026-11-22", holidays: ["2026-11-21", "2026-11-22"] },
      "would never hold",
    ],
  ])("%s", (_name, spec, message) => {
    expect(problemsOf(spec)).toEqual([expect.stringContaining(message)]);
  });

  it("two that share no minute", () => {
    const conflict = (a: Spec, b: Spec) => time.conflict?.({ kind: "time", ...a }, { kind: "time", ...b });
    expect(conflict(berlin, { ...berlin, hours: ["17:00-22:00"] })).toContain("no minute in common");
    expect(conflict(berlin, { ...berlin, hours: ["16:59-22:00"] })).toBeUndefined();
    expect(conflict(berlin, { zone: "UTC", hours: ["17:00-22:00"] })).toBeUndefined();
    expect(conflict({ zone: "UTC", from: "2026-02-01" }, { zone: "UTC", until: "2026-01-01" })).toContain(
      "after the other ended",
    );
  });
});

// ---- against another implementation ---------------------------------------------------------------------------

interface Zoned {
  readonly hour: number;
  readonly minute: number;
  readonly dayOfWeek: number;
  toPlainDate(): { toString(): string; subtract(days: { days: number }): { dayOfWeek: number } };
}
const { Temporal } = globalThis as unknown as {
  Temporal?: {
    Instant: { fromEpochMilliseconds(ms: number): { toZonedDateTimeISO(zone: string): Zoned } };
  };
};

const WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] as const;

/** What Temporal says, with nothing of ours in it. */
function reference(spec: Spec, instant: number): boolean {
  const zoned = Temporal!.Instant.fromEpochMilliseconds(instant).toZonedDateTimeISO(spec.zone);
  const minute = zoned.hour * 60 + zoned.minute;
  const today = zoned.dayOfWeek - 1;
  const yesterday = (zoned.toPlainDate().subtract({ days: 1 }).dayOfWeek + 6) % 7;
  const minutesOf = (text: string): number => Number(text.slice(0, 2)) * 60 + Number(text.slice(3));
  const isDay = (day: number): boolean => spec.weekdays?.includes(WEEKDAYS[day]!) ?? true;
  return (spec.hours ?? ["00:00-24:00"]).some((text) => {
    const [start, end] = text.split("-").map(minutesOf) as [number, number];
    if (start < end) return isDay(today) && minute >= start && minute < end;
    return (isDay(today) && minute >= start) || (isDay(yesterday) && minute < end);
  });
}

const clockTime = fc
  .integer({ min: 0, max: 1439 })
  .map(
    (minute) => `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`,
  );
const randomSpec = fc.record({
  zone: fc.constantFrom(...Intl.supportedValuesOf("timeZone")),
  hours: fc.array(
    fc
      .tuple(clockTime, clockTime)
      .filter(([a, b]) => a !== b)
      .map(([a, b]) => `${a}-${b}`),
    { minLength: 1, maxLength: 3 },
  ),
  weekdays: fc.uniqueArray(fc.constantFrom(...WEEKDAYS), { minLength: 1 }),
});
/** 1975 to 2037, where zones have changed their rules in every way. */
const randomInstant = fc.integer({ min: 157_766_400_000, max: 2_145_916_800_000 });

describe.skipIf(Temporal === undefined)("against Temporal, for any zone and instant", () => {
  it("holds where Temporal says so", () => {
    fc.assert(
      fc.property(randomSpec, randomInstant, (spec, instant) => {
        expect(at(spec, instant).holds).toBe(reference(spec, instant));
      }),
      { numRuns: 1500 },
    );
  });

  it("nothing changes before the instant up to which it was found", () => {
    fc.assert(
      fc.property(
        randomSpec,
        randomInstant,
        fc.double({ min: 0, max: 1, noNaN: true }),
        (spec, instant, share) => {
          const { holds: now, validUntil = 0 } = at(spec, instant);
          expect(validUntil).toBeGreaterThan(instant);
          const between = Math.floor(instant + (validUntil - 1 - instant) * share);
          expect(reference(spec, between)).toBe(now);
          expect(reference(spec, validUntil - 1)).toBe(now);
        },
      ),
      { numRuns: 1500 },
    );
  });
});
