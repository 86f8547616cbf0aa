// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import { windowsOf } from "./calendar-window.ts";

const at = (text: string): number => Date.parse(text);
const hours = (length: number): number => length * 3_600_000;

describe("a window at its edges", () => {
  test.each([
    ["minute", "2026-11-21T10:05:00.000Z", "2026-11-21T10:06:00.000Z"],
    ["hour", "2026-11-21T10:00:00.000Z", "2026-11-21T11:00:00.000Z"],
    ["day", "2026-11-21T00:00:00.000Z", "2026-11-22T00:00:00.000Z"],
    ["month", "2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z"],
  ] as const)(
    "of a %s begins with its first millisecond and ends before the next begins",
    (period, from, to) => {
      const windowAt = windowsOf(period, "UTC");
      const first = windowAt(at(from));
      expect(first).toMatchObject({ startsAt: at(from), endsAt: at(to) });
      expect(windowAt(at(to) - 1)).toBe(first);
      expect(windowAt(at(to)).label).not.toBe(first.label);
      expect(windowAt(at(from) - 1).label).not.toBe(first.label);
    },
  );
});

describe("daylight saving", () => {
  test.each([
    ["Europe/Berlin", "2026-03-29T10:00:00Z", "2026-03-28T23:00:00Z", 23],
    ["Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-24T22:00:00Z", 25],
    ["Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-24T22:00:00Z", 25],
    ["America/New_York", "2026-11-01T12:00:00Z", "2026-11-01T04:00:00Z", 25],
    // The clock goes forward at midnight: this day has no 00:00.
    ["Africa/Cairo", "2026-04-24T12:00:00Z", "2026-04-23T22:00:00Z", 23],
    // By half an hour.
    ["Australia/Lord_Howe", "2026-04-04T20:00:00Z", "2026-04-04T13:00:00Z", 24.5],
    // An offset that is no whole hour.
    ["Asia/Kathmandu", "2026-11-21T12:00:00Z", "2026-11-20T18:15:00Z", 24],
  ])("in %s at %s the day begins at %s and has %s hours", (zone, now, start, length) => {
    const { startsAt, endsAt } = windowsOf("day", zone)(at(now));
    expect(new Date(startsAt).toISOString()).toBe(new Date(start).toISOString());
    expect(endsAt - startsAt).toBe(hours(length));
  });

  test("a month with the change in it has an hour less or more", () => {
    const windowAt = windowsOf("month", "Europe/Berlin");
    const march = windowAt(at("2026-03-15T00:00:00Z"));
    expect(march.endsAt - march.startsAt).toBe(hours(31 * 24 - 1));
    const october = windowAt(at("2026-10-15T00:00:00Z"));
    expect(october.endsAt - october.startsAt).toBe(hours(31 * 24 + 1));
  });

  test("the hour that comes twice is two windows, because hours are those of UTC", () => {
    const windowAt = windowsOf("hour", "Europe/Berlin");
    const [first, second] = [at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z")].map(windowAt);
    expect(first!.label).not.toBe(second!.label);
    expect(first!.endsAt).toBe(second!.startsAt);
  });
});

describe("a clock", () => {
  test("that jumps back finds the window that it was in before, under the same name", () => {
    const windowAt = windowsOf("day", "Europe/Berlin");
    const before = windowAt(at("2026-11-21T10:00:00Z"));
    windowAt(at("2026-11-25T10:00:00Z"));
    expect(windowAt(at("2026-11-21T12:00:00Z"))).toEqual(before);
  });

  test.each([Number.MAX_SAFE_INTEGER, 8.64e15, -8.64e15, 0])("that says %s is in some window", (now) => {
    for (const period of ["minute", "hour", "day", "month"] as const) {
      const { startsAt, endsAt } = windowsOf(period, "Pacific/Apia")(now);
      expect(endsAt).toBeGreaterThan(startsAt);
    }
  });

  test("every instant of two years is in exactly one window of a zone, without gaps", () => {
    for (const zone of ["Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "Africa/Casablanca"]) {
      const windowAt = windowsOf("day", zone);
      let window = windowAt(at("2026-01-01T00:00:00Z"));
      for (let day = 0; day < 730; day++) {
        const next = windowAt(window.endsAt);
        expect(next.startsAt).toBe(window.endsAt);
        window = next;
      }
    }
  });
});
