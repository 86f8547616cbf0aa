// SPDX-License-Identifier: Apache-2.0
/**
 * Which period of a calendar is an instant in?
 *
 * Minutes and hours are those of UTC: they have one length whatever clocks do. Days and months begin and end with the
 * date of an IANA zone, so a day has 23 or 25 hours where daylight saving begins or ends.
 */
import type { BudgetPeriod } from "@postern/contract";
import type { Instant } from "../kernel/clock.ts";

export interface CalendarWindow {
  /** Names it among those of its zone and period. */
  readonly label: string;
  readonly startsAt: Instant;
  /** The first instant behind it. */
  readonly endsAt: Instant;
}

const MINUTE = 60_000;
const HOUR = 3_600_000;
const DAY = 86_400_000;

/** Instants that `Date` can hold, less what is added to them here. */
const LAST = 8.64e15 - 100 * DAY;

/** Gives the window of an instant; remembers the last one, which is nearly always the next one asked for. */
export function windowsOf(period: BudgetPeriod, timeZone: string): (now: Instant) => CalendarWindow {
  const find = period === "day" || period === "month" ? dated(period, timeZone) : fixed(period);
  let last: CalendarWindow | undefined;
  return (now) => {
    if (last !== undefined && now >= last.startsAt && now < last.endsAt) return last;
    last = find(Math.min(Math.max(now, 0), LAST));
    return last;
  };
}

function fixed(period: "minute" | "hour"): (now: Instant) => CalendarWindow {
  const length = period === "minute" ? MINUTE : HOUR;
  return (now) => {
    const startsAt = now - (now % length);
    const label = new Date(startsAt).toISOString().slice(0, period === "minute" ? 16 : 13);
    return { label: `${period}:${label}Z`, startsAt, endsAt: startsAt + length };
  };
}

function dated(period: "day" | "month", timeZone: string): (now: Instant) => CalendarWindow {
  const format = new Intl.DateTimeFormat("en-CA-u-ca-iso8601-nu-latn", {
    timeZone,
    ...{ year: "numeric", month: "2-digit", day: "2-digit" },
  });
  const nameOf = (at: Instant): string => {
    const parts = new Map(format.formatToParts(at).map(({ type, value }) => [type, value]));
    const month = `${parts.get("year")}-${parts.get("month")}`;
    return period === "month" ? month : `${month}-${parts.get("day")}`;
  };
  // Two days more than the longest: zones have skipped a day, and put the clock back over midnight.
  const reach = (period === "month" ? 33 : 3) * DAY;
  return (now) => {
    const name = nameOf(now);
    const isInside = (at: Instant): boolean => nameOf(at) === name;
    return {
      label: `${period}:${name}@${timeZone}`,
      startsAt: edge(now, now - reach, isInside),
      endsAt: edge(now, now + reach, isInside),
    };
  };
}

/** Between an instant inside and one outside: the first inside, or the first behind the last inside. */
function edge(inside: Instant, outside: Instant, isInside: (at: Instant) => boolean): Instant {
  let [near, far] = [inside, outside];
  while (Math.abs(near - far) > 1) {
    const middle = near + Math.trunc((far - near) / 2);
    if (isInside(middle)) near = middle;
    else far = middle;
  }
  return Math.max(near, far);
}
