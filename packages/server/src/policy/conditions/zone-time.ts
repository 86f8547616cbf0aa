// SPDX-License-Identifier: Apache-2.0
/** What do the clocks of a time zone show at an instant, and when do they next show something else than usual? */
import type { Instant } from "../../kernel/clock.ts";

const MINUTE = 60_000;
export const DAY = 86_400_000;

/** What clocks and calendars of a zone show, as if it were UTC: milliseconds, to be read with `getUTC…`. */
export type WallTime = number;

export interface ZoneClock {
  wallTime(instant: Instant): WallTime;
  /** Difference of what clocks show to UTC, in milliseconds. */
  offset(instant: Instant): number;
}

/** @throws {RangeError} where there is no such zone */
export function zoneClock(zone: string): ZoneClock {
  const format = new Intl.DateTimeFormat("en-u-ca-gregory-nu-latn", {
    timeZone: zone,
    hourCycle: "h23",
    era: "short",
    ...{ year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric" },
    second: "numeric",
  });
  const offset = (instant: Instant): number => {
    const parts: Record<string, string> = {};
    for (const { type, value } of format.formatToParts(instant)) parts[type] = value;
    const field = (name: string): number => Number(parts[name]);
    const shown = Date.UTC(
      ...([field("year"), field("month") - 1, field("day")] as const),
      ...([field("hour"), field("minute"), field("second")] as const),
    );
    return shown - Math.floor(instant / 1000) * 1000;
  };
  return { offset, wallTime: (instant) => instant + offset(instant) };
}

export function isZone(zone: string): boolean {
  try {
    zoneClock(zone);
    return true;
  } catch {
    return false;
  }
}

/**
 * Instants after `now`, in the next 24 hours, at which clocks may begin to show one of `minutes` of a day, or jump.
 *
 * Some of them may be none: whoever asks for the earliest is never late, and may be early.
 */
export function* edges(clock: ZoneClock, now: Instant, minutes: readonly number[]): Generator<Instant> {
  const until = now + DAY;
  const offsets = new Set([clock.offset(now), clock.offset(until)]);
  const today = Math.floor(clock.wallTime(now) / DAY) * DAY;
  for (const offset of offsets)
    // Yesterday's and the day after tomorrow's too: offsets differ by up to a day where a zone changes sides.
    for (const day of [today - DAY, today, today + DAY, today + 2 * DAY])
      for (const minute of minutes) {
        const instant = day + minute * MINUTE - offset;
        if (instant > now && instant <= until) yield instant;
      }
  if (offsets.size > 1) yield jump(clock, now, until);
}

/** The instant in between at which the offset changes, to the millisecond. */
function jump(clock: ZoneClock, before: Instant, after: Instant): Instant {
  const old = clock.offset(before);
  let [low, high] = [before, after];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (clock.offset(middle) === old) low = middle;
    else high = middle;
  }
  return high;
}

/** `2026-11-21` as the day's beginning. */
export const dayOf = (date: string): WallTime => Date.parse(`${date}T00:00:00Z`);

export const dateText = (wall: WallTime): string => new Date(wall).toISOString().slice(0, 10);
export const timeText = (wall: WallTime): string => new Date(wall).toISOString().slice(11, 19);
/** 0 is Monday. */
export const weekdayOf = (wall: WallTime): number => (new Date(wall).getUTCDay() + 6) % 7;
