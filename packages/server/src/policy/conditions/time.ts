// SPDX-License-Identifier: Apache-2.0
/**
 * Is it a time at which the condition holds?
 *
 * What counts is what the clocks of the zone show; so an hour that is skipped in spring never comes, and one that is
 * shown twice in autumn holds twice. Hours over midnight belong to the day on which they begin: its weekday, its date,
 * and whether it is a holiday.
 */
import type { ConditionSpecOf } from "@postern/contract";
import type { Instant } from "../../kernel/clock.ts";
import { nearestName } from "../../kernel/nearest-name.ts";
import { type ConditionKind, met, type SpecProblem, unmet } from "./condition-kind.ts";
import {
  dateText,
  DAY,
  dayOf,
  edges,
  isZone,
  timeText,
  type WallTime,
  weekdayOf,
  zoneClock,
  type ZoneClock,
} from "./zone-time.ts";

type Spec = ConditionSpecOf<"time">;

export const time: ConditionKind<Spec> = {
  scope: "nothing",
  problems,
  conflict,
  judge: (spec) => {
    const clock = zoneClock(spec.zone);
    const calendar = calendarOf(spec);
    return ({ now }) => {
      const wall = clock.wallTime(now);
      const holds = isOpen(calendar, wall);
      const seen = `it is ${WEEKDAYS[weekdayOf(wall)]} ${dateText(wall)} ${timeText(wall)} in ${spec.zone}`;
      const until = nextChange(calendar, clock, now);
      return holds ? met(seen, until) : unmet(`${seen}; ${wanted(spec)}`, until);
    };
  },
};

const WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] as const;

interface Calendar {
  readonly weekdays: ReadonlySet<number>;
  /** Minutes of a day; an end beyond 1440 is on the next day. */
  readonly spans: readonly { readonly start: number; readonly end: number }[];
  readonly from: WallTime;
  readonly until: WallTime;
  readonly holidays: ReadonlySet<WallTime>;
  /** Minutes of a day at which it may change, midnight included. */
  readonly edges: readonly number[];
}

function calendarOf({ weekdays, hours, from, until, holidays }: Spec): Calendar {
  const spans = hours?.map(spanOf) ?? [{ start: 0, end: 1440 }];
  return {
    weekdays: new Set(weekdays?.map((day) => WEEKDAYS.indexOf(day)) ?? WEEKDAYS.keys()),
    spans,
    from: from === undefined ? -Infinity : dayOf(from),
    until: until === undefined ? Infinity : dayOf(until),
    holidays: new Set(holidays?.map(dayOf)),
    edges: [...new Set([0, ...spans.flatMap(({ start, end }) => [start, end % 1440])])],
  };
}

function spanOf(text: string): { start: number; end: number } {
  const [start = 0, end = 0] = text.split("-").map((each) => {
    const [hour = 0, minute = 0] = each.split(":").map(Number);
    return hour * 60 + minute;
  });
  return { start, end: end > start ? end : end + 1440 };
}

function isOpen(calendar: Calendar, wall: WallTime): boolean {
  const today = Math.floor(wall / DAY) * DAY;
  const minute = (wall - today) / 60_000;
  return (
    (isOpenDay(calendar, today) && isIn(calendar, minute)) ||
    (isOpenDay(calendar, today - DAY) && isIn(calendar, minute + 1440))
  );
}

const isIn = ({ spans }: Calendar, minute: number): boolean =>
  spans.some(({ start, end }) => minute >= start && minute < end);

const isOpenDay = ({ weekdays, from, until, holidays }: Calendar, day: WallTime): boolean =>
  day >= from && day <= until && weekdays.has(weekdayOf(day)) && !holidays.has(day);

/** The earliest edge at which it really changes; in a day at the latest it is looked at again. */
function nextChange(calendar: Calendar, clock: ZoneClock, now: Instant): Instant {
  const isNow = isOpen(calendar, clock.wallTime(now));
  for (const edge of [...edges(clock, now, calendar.edges)].toSorted((a, b) => a - b))
    if (isOpen(calendar, clock.wallTime(edge)) !== isNow) return edge;
  return now + DAY;
}

function wanted({ weekdays, hours, from, until, holidays }: Spec): string {
  const parts = [
    weekdays === undefined ? "" : `on ${weekdays.join(", ")}`,
    hours === undefined ? "" : hours.join(", "),
    from === undefined ? "" : `from ${from}`,
    until === undefined ? "" : `until ${until}`,
    holidays === undefined ? "" : `except on ${holidays.length} holidays`,
  ];
  return `wanted ${parts.filter((part) => part !== "").join(" ")}`;
}

function problems(spec: Spec): SpecProblem[] {
  const { zone, weekdays, hours, from, until } = spec;
  if (!isZone(zone)) {
    const nearest = nearestName(zone, Intl.supportedValuesOf("timeZone"));
    const hint =
      nearest === undefined ? "use an IANA name such as Europe/Berlin" : `did you mean \`${nearest}\`?`;
    return [{ path: ["zone"], message: `no time zone \`${zone}\`; ${hint}` }];
  }
  const found: SpecProblem[] = [];
  for (const [index, text] of (hours ?? []).entries()) {
    const [start, end] = text.split("-");
    if (start === end)
      found.push({
        path: ["hours", index],
        message: `\`${text}\` begins where it ends; for the whole day write \`00:00-24:00\`, or leave \`hours\` out`,
      });
  }
  if (from !== undefined && until !== undefined && from > until)
    found.push({ path: ["until"], message: `ends before \`from\` (${from}); swap them` });
  else if (from !== undefined && until !== undefined && !hasDay(spec))
    found.push({
      path: [weekdays === undefined ? "holidays" : "weekdays"],
      message: `no day from ${from} until ${until} is left, so this would never hold; widen the dates`,
    });
  return found;
}

/** Whether any day from `from` until `until` counts; far ones are not looked at, there is a weekday in each week. */
function hasDay(spec: Spec): boolean {
  const calendar = calendarOf(spec);
  const most = (spec.holidays?.length ?? 0) * 7 + 7;
  for (let day = calendar.from, seen = 0; day <= calendar.until && seen <= most; day += DAY, seen++)
    if (isOpenDay(calendar, day)) return true;
  return false;
}

/** Two weeks of minutes of weekdays and hours, in one zone: what repeats each week is compared. */
function conflict(a: Spec, b: Spec): string | undefined {
  if (a.from !== undefined && b.until !== undefined && a.from > b.until)
    return `one begins on ${a.from}, after the other ended on ${b.until}`;
  if (b.from !== undefined && a.until !== undefined && b.from > a.until)
    return `one begins on ${b.from}, after the other ended on ${a.until}`;
  if (a.zone !== b.zone) return undefined;
  const [first, second] = [weekly(a), weekly(b)];
  for (let minute = 0; minute < 7 * 1440; minute++)
    if (isOpen(first, MONDAY + minute * 60_000) && isOpen(second, MONDAY + minute * 60_000)) return undefined;
  return "their weekdays and hours have no minute in common";
}

/** Any Monday. */
const MONDAY = dayOf("2024-01-01");

const weekly = (spec: Spec): Calendar => ({
  ...calendarOf(spec),
  ...{ from: -Infinity, until: Infinity, holidays: new Set<WallTime>() },
});
