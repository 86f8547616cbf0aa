// SPDX-License-Identifier: Apache-2.0
/** What an error of SQLite means for the person who runs the server, and what to do next. */
import { Fault } from "../../kernel/fault.ts";

/** Primary result codes (sqlite.org/rescode.html). */
const MEANING: Readonly<Record<number, string>> = {
  5: "is in use by another program: stop that program, then try again",
  6: "is in use by another program: stop that program, then try again",
  8: "cannot be written: make the file and its folder writable for the account of the server",
  10: "cannot be read or written by the operating system: check the disk, then start again",
  11: "is damaged: stop the server, keep a copy of the folder, and restore a backup",
  13: "cannot grow because the disk is full: free some space, then try again",
  14: "cannot be opened: check that the file and its folder belong to the account of the server",
  26: "is not a database of postern: restore a backup, or move the file away to start empty",
};

/** Somebody else is writing. */
export const isBusy = (error: unknown): boolean => {
  const code = (error as { errcode?: unknown } | undefined)?.errcode;
  return typeof code === "number" && (code & 0xff) === 5;
};

/** A Fault that names the file and the next step. Faults pass through. */
export function storageFault(error: unknown, file: string): Fault {
  if (error instanceof Fault) return error;
  const code = (error as { errcode?: unknown } | undefined)?.errcode;
  // Extended codes carry the primary code in the low byte.
  const meaning = typeof code === "number" ? MEANING[code & 0xff] : undefined;
  return meaning === undefined
    ? new Fault("internal_error", `the database ${file} failed`, { cause: error })
    : new Fault("internal_error", `the database ${file} ${meaning}`, { cause: error });
}

/** For `quick_check`, which reports damage as rows. */
export function requireSound(report: readonly Record<string, unknown>[], file: string): void {
  const sound = report.length === 1 && report[0]!["quick_check"] === "ok";
  if (!sound) throw storageFault({ errcode: 11 }, file);
}
