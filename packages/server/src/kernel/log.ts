// SPDX-License-Identifier: Apache-2.0
/** The log port: a stable message and plain fields. There is no way to log an object as it comes. */

export type LogField = string | number | boolean | undefined;
export type LogLevel = "debug" | "info" | "warn" | "error";

export interface Log {
  write(level: LogLevel, message: string, fields?: Readonly<Record<string, LogField>>): void;
}

/** One JSON line per entry, to the writer given. */
export function jsonLog(write: (line: string) => void, now: () => number, least: LogLevel = "info"): Log {
  const rank: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };
  return {
    write(level, message, fields = {}) {
      if (rank[level] < rank[least]) return;
      write(JSON.stringify({ time: new Date(now()).toISOString(), level, message, ...fields }) + "\n");
    },
  };
}

export const silentLog: Log = { write: () => {} };
