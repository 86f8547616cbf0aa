// SPDX-License-Identifier: Apache-2.0
/**
 * What every audit event has in common: the OCSF 1.8.0 base event, and the bounds on what may stand in it.
 *
 * An entry of the log holds at most 65,535 bytes (C2SP tlog-tiles), so every text and list is cut to a length here,
 * and a cut is visible. Control characters are replaced: an event is printed on terminals.
 */
import type { Instant } from "../kernel/clock.ts";

export type EventValue =
  string | number | boolean | undefined | readonly EventValue[] | { readonly [name: string]: EventValue };

/** One event of the log: an OCSF object. Made by the builders of `events.ts` and `change-events.ts`. */
export interface AuditEvent {
  readonly metadata: { readonly uid: string; readonly [name: string]: EventValue };
  readonly time: Instant;
  readonly class_uid: number;
  readonly unmapped: { readonly kind: EventKind; readonly [name: string]: EventValue };
  readonly [name: string]: EventValue;
}

/** What happened, in Postern's own words; OCSF's class is coarser. */
export type EventKind =
  | "posture"
  | "decision"
  | "outcome"
  | "resource_change"
  | "secret_change"
  | "agent_state"
  | "run"
  | "server"
  | "attestation"
  | "authority"
  | "svid"
  | "approval"
  | "grant";

export const OCSF_VERSION = "1.8.0";

export type Severity = "informational" | "low" | "medium" | "high";

export const SEVERITY_ID: Readonly<Record<Severity, number>> = {
  informational: 1,
  low: 2,
  medium: 3,
  high: 4,
};

export interface EventFrame {
  readonly id: string;
  readonly time: Instant;
  readonly classUid: 3001 | 3002 | 3004 | 6002 | 6003;
  readonly activityId: number;
  readonly severity: Severity;
  readonly succeeded: boolean;
  /** What says why it failed; a problem code. */
  readonly statusCode?: string | undefined;
  readonly profiles?: readonly string[];
  readonly kind: EventKind;
  /** Attributes of the OCSF class. */
  readonly attributes: Readonly<Record<string, EventValue>>;
  /** What OCSF has no place for. */
  readonly unmapped: Readonly<Record<string, EventValue>>;
}

export function frameEvent(frame: EventFrame): AuditEvent {
  return {
    ...frame.attributes,
    activity_id: frame.activityId,
    category_uid: Math.floor(frame.classUid / 1000),
    class_uid: frame.classUid,
    metadata: {
      product: { name: "Postern", vendor_name: "Postern" },
      profiles: frame.profiles,
      uid: text(frame.id, 64),
      version: OCSF_VERSION,
    },
    severity_id: SEVERITY_ID[frame.severity],
    status_code: frame.statusCode === undefined ? undefined : text(frame.statusCode, 64),
    status_id: frame.succeeded ? 1 : 2,
    time: frame.time,
    type_uid: frame.classUid * 100 + frame.activityId,
    unmapped: { ...frame.unmapped, kind: frame.kind },
  };
}

/** Controls, line separators, and what turns the direction of the text around it. */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\u202A-\u202E\u2066-\u2069]/gu;

const PLAIN = /^[\x20-\x7e]*$/;

/** At most `max` UTF-16 units; what was cut off is counted at the end. Absent stays absent. */
export function text(value: string, max?: number): string;
export function text(value: string | undefined, max?: number): string | undefined;
export function text(value: string | undefined, max = 256): string | undefined {
  if (value === undefined) return undefined;
  // Nearly all texts are short and plain.
  if (value.length <= max && PLAIN.test(value)) return value;
  const kept = value.length <= max ? value : value.slice(0, max);
  // RFC 8785 has no form for a lone surrogate, which the cut or the caller may have left.
  const clean = kept.toWellFormed().replaceAll(UNPRINTABLE, "\uFFFD");
  return value.length <= max ? clean : `${clean}…[+${value.length - max}]`;
}

/** At most `maxItems` texts; the last one counts those left out. */
export function texts(values: readonly string[], maxItems: number, max = 128): string[] {
  const kept = values.slice(0, maxItems).map((value) => text(value, max));
  return values.length <= maxItems ? kept : [...kept, `…[+${values.length - maxItems}]`];
}

/** A finite number; JSON has no form for others. */
export function quantity(value: number | undefined): number | undefined {
  return value !== undefined && Number.isFinite(value) ? value : undefined;
}
