// SPDX-License-Identifier: Apache-2.0
/** How is it asked of others how workloads and machines are? What every kind of source gives, and what it may ask with. */
import type { Instant } from "../../kernel/clock.ts";
import type { Result } from "../../kernel/result.ts";

export interface Seen {
  readonly subject: string;
  readonly facts: Readonly<Record<string, boolean | number | string>>;
  readonly observedAt: Instant;
  /** Seconds, where the source itself says for how long. */
  readonly validFor?: number;
}

export interface Question {
  readonly url: URL;
  readonly method: "GET" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

/** One call; the JSON that was answered with a status of success, else why there is none. */
export type Ask = (question: Question) => Promise<Result<unknown, string>>;

export type PostureReader = (ask: Ask, now: Instant) => Promise<Result<readonly Seen[], string>>;

/** Entries that one source may speak of, and pages that it may need for them. */
export const MOST_SEEN = 5000;
export const MOST_PAGES = 60;

export type Json = Readonly<Record<string, unknown>>;
export const objectOf = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
export const textOf = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : undefined;

/** The subject of an entry; undefined where a member that it needs is not there, or could not stand in a selector. */
export function subjectOf(template: string, entry: Json): string | undefined {
  let isWhole = true;
  const subject = template.replaceAll(/\{([A-Za-z0-9_]+)\}/g, (_, member: string) => {
    const value = Object.hasOwn(entry, member) ? textOf(entry[member]) : undefined;
    if (value === undefined || value.length > 500 || !/^[\x21-\x7e]+$/.test(value)) isWhole = false;
    return value ?? "";
  });
  return isWhole ? subject : undefined;
}

/** Without those of whom two entries speak: nobody can tell which of them it is. */
export function unambiguous(seen: readonly Seen[]): readonly Seen[] {
  const counts = new Map<string, number>();
  for (const { subject } of seen) counts.set(subject, (counts.get(subject) ?? 0) + 1);
  return seen.filter(({ subject }) => counts.get(subject) === 1);
}
