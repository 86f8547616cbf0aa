// SPDX-License-Identifier: Apache-2.0
/**
 * What may stand in a line of the log: a fixed message and fields from a closed list, each of a known shape.
 *
 * There is no way to log an object, the words of an error or what an agent sent: a value of another shape is
 * replaced, whatever the types were made to believe.
 */
import { PROBLEMS } from "@postern/contract";
import { Fault } from "./fault.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";
export const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

declare const faultBrand: unique symbol;
/** Only `faultFields` makes one: the message of an error is no such word. */
type FaultWord = string & { readonly [faultBrand]: true };

/** Names of resources and operations, ids, codes: nothing that an agent chooses freely. */
interface Words {
  readonly agent: string;
  readonly serverWorkload: string;
  readonly operation: string;
  readonly run: string;
  readonly auditId: string;
  /** Of the table of problems. */
  readonly code: string;
  readonly ended: string;
  readonly state: string;
  readonly check: string;
  readonly address: string;
  /** Code or class of a surprise, and the place in the program where it arose. */
  readonly error: FaultWord;
  readonly at: FaultWord;
}

interface Numbers {
  readonly status: number;
  readonly bytes: number;
  readonly count: number;
  readonly durationMs: number;
}

export type LogFields = { readonly [Name in keyof (Words & Numbers)]?: (Words & Numbers)[Name] | undefined };

export interface Log {
  /** The message is a literal: what varies goes into fields. */
  write<const Message extends string>(
    level: LogLevel,
    message: string extends Message ? never : Message,
    fields?: LogFields,
  ): void;
}

const SHAPES: Readonly<Record<keyof Words, "word"> & Record<keyof Numbers, "number">> = {
  agent: "word",
  serverWorkload: "word",
  operation: "word",
  run: "word",
  auditId: "word",
  code: "word",
  ended: "word",
  state: "word",
  check: "word",
  address: "word",
  error: "word",
  at: "word",
  status: "number",
  bytes: "number",
  count: "number",
  durationMs: "number",
};

const WORD = /^[\w.:/[\]-]{1,128}$/;
const LONGEST_MESSAGE = 200;
const WITHHELD = "[withheld]";
const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/** One JSON line per entry, in ASCII, to the writer given. */
export function jsonLog(write: (line: string) => void, now: () => number, least: LogLevel = "info"): Log {
  return {
    write(level: LogLevel, message: string, fields: LogFields = {}) {
      if (RANK[level] < RANK[least]) return;
      const line = {
        time: new Date(now()).toISOString(),
        level,
        message: typeof message === "string" ? message.slice(0, LONGEST_MESSAGE) : WITHHELD,
        ...shownFields(fields),
      };
      write(`${ascii(JSON.stringify(line))}\n`);
    },
  };
}

export const silentLog: Log = { write: () => {} };

/** What may be said of a surprise: its code and where it arose; never its words, which may quote anything. */
export function faultFields(error: unknown): Pick<LogFields, "error" | "at"> {
  const at = error instanceof Error ? placeOf(error) : undefined;
  return { error: codeOf(error) as FaultWord, at: at as FaultWord | undefined };
}

function shownFields(fields: LogFields): Record<string, string | number | undefined> {
  const shown: Record<string, string | number | undefined> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (!Object.hasOwn(SHAPES, name)) continue;
    shown[name] = value === undefined || fits(name as keyof LogFields, value) ? value : WITHHELD;
  }
  return shown;
}

const fits = (name: keyof LogFields, value: unknown): boolean =>
  SHAPES[name] === "number" ? Number.isFinite(value) : typeof value === "string" && WORD.test(value);

/** Terminals and viewers act on more than the control characters that JSON escapes. */
const ascii = (line: string): string =>
  line.replace(/[\u007f-\uffff]/g, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** Codes of problems, of the system (`ENOSPC`), of Node (`ERR_…`) and of SQL; else the class of the error. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  const code: unknown = (error as { code?: unknown }).code;
  if (error instanceof Fault && Object.hasOwn(PROBLEMS, error.code)) return withCause(error);
  if (typeof code === "string" && /^(E[A-Z][A-Z0-9_]{1,40}|[0-9A-Z]{5})$/.test(code)) return code;
  return /^[A-Z][A-Za-z]{0,30}Error$/.test(error.name) ? error.name : "Error";
}

const withCause = (fault: Fault): string =>
  fault.cause === undefined || fault.cause instanceof Fault
    ? fault.code
    : `${fault.code}:${codeOf(fault.cause)}`;

const FRAME = /^ {4}at [^\n]*[/\\]([\w.-]{1,60}\.[cm]?[jt]s:\d{1,6}):\d{1,6}\)?$/m;

/** File and line of the innermost frame that has one. The message is cut away first: it may look like a frame. */
function placeOf({ stack, message }: Error): string | undefined {
  const from = stack?.indexOf(message) ?? -1;
  return from === -1 ? undefined : FRAME.exec(stack!.slice(from + message.length))?.[1];
}
