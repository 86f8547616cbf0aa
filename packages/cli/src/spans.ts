// SPDX-License-Identifier: Apache-2.0
/** Times and counts as people write them on a command line. */
import { UsageError } from "./command.ts";

const UNITS = { s: 1, m: 60, h: 3600 } as const;

/** `90s`, `30m`, `1h`, `1h30m`. */
export function secondsOf(flag: string, value: unknown): number {
  const parts =
    typeof value === "string" ? /^(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s)?$/.exec(value) : null;
  const [, hours, minutes, seconds] = parts ?? [];
  const total =
    Number(hours ?? 0) * UNITS.h + Number(minutes ?? 0) * UNITS.m + Number(seconds ?? 0) * UNITS.s;
  if (total > 0) return total;
  throw new UsageError(`give ${flag} as a time, such as 90s, 30m or 1h`);
}

export function positiveCount(flag: string, value: unknown): number {
  if (typeof value === "string" && /^[1-9]\d{0,5}$/.test(value)) return Number(value);
  throw new UsageError(`give ${flag} as a whole number from 1`);
}
