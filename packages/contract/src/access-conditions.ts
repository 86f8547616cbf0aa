// SPDX-License-Identifier: Apache-2.0
/**
 * What may stand in `spec` of an AccessCondition: a shape for each kind of condition.
 *
 * A condition says what must hold, never what must not be the case: where nobody can tell, it does not hold.
 */
import { z } from "zod";

const date = z.iso.date("write the date as YYYY-MM-DD");

/** `24:00` is the end of the day. */
const span = z
  .string()
  .regex(
    /^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$/,
    "write FROM-UNTIL on a 24 hour clock, such as 09:00-17:00; 22:00-06:00 goes over midnight",
  );

const WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] as const;

const time = z
  .strictObject({
    kind: z.literal("time"),
    /** IANA name of a time zone. */
    zone: z
      .string()
      .max(100)
      .regex(/^[A-Za-z][A-Za-z0-9_+/-]*$/, "use the IANA name of a zone, such as Europe/Berlin"),
    weekdays: z.array(z.enum(WEEKDAYS)).min(1).max(7).optional(),
    hours: z.array(span).min(1).max(20).optional(),
    /** First day on which it can hold. */
    from: date.optional(),
    /** Last day on which it can hold. */
    until: date.optional(),
    /** Days on which it does not hold. */
    holidays: z.array(date).min(1).max(1000).optional(),
  })
  .refine(
    ({ weekdays, hours, from, until }) => [weekdays, hours, from, until].some((field) => field !== undefined),
    "say when: `weekdays`, `hours`, `from` or `until`",
  );

/** The kinds that are there; which of them a condition is, is said in `spec.kind`. */
export const accessConditionSpec = z.discriminatedUnion("kind", [time]);

export type AccessConditionSpec = z.infer<typeof accessConditionSpec>;
export type ConditionKindName = AccessConditionSpec["kind"];
export type ConditionSpecOf<K extends ConditionKindName> = Extract<AccessConditionSpec, { kind: K }>;
