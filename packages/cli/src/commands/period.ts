// SPDX-License-Identifier: Apache-2.0
/** Which moment does `--since` mean? */
import { UsageError } from "../command.ts";

const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** Milliseconds since 1970: so long before `now`, or the date that `text` is. */
export function sinceOf(text: string, now: number): number {
  const [, count, unit] = /^([0-9]{1,6})([mhdw])$/.exec(text) ?? [];
  if (count !== undefined && unit !== undefined) return now - Number(count) * UNITS[unit]!;
  const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) throw new UsageError("--since is 30m, 24h, 7d, 4w, or a date such as 2026-11-01");
  return time;
}
