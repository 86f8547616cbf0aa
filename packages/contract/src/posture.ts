// SPDX-License-Identifier: Apache-2.0
/** What somebody who looked says of a workload or a machine: the body of `PUT /v1/posture`, and its answers. */
import { z } from "zod";

/** Facts longer than this past are nobody's present, whoever vouches for them. */
export const LONGEST_POSTURE = 7 * 86_400;

export const postureFactName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9.-]{0,62}[a-z0-9]$/, "use lower-case letters, digits, dots and hyphens, 2 to 64");

const factValue = z.union([z.boolean(), z.number().min(-1e15).max(1e15), z.string().max(200)]);

export const postureReportSchema = z.strictObject({
  /** A selector that callers have, such as `spiffe:id=spiffe://corp/agents/a`; or `machine`, the one that the server runs on. */
  subject: z
    .string()
    .max(4200)
    .regex(
      /^(machine|[a-z0-9-]+:[a-z0-9-]+=.+)$/,
      "write a selector such as spiffe:id=spiffe://corp/agents/a, or machine",
    ),
  /** Who looked. */
  source: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "use lower-case letters, digits and hyphens"),
  /** When it was seen; the present where absent. */
  observedAt: z.iso.datetime({ offset: true }).optional(),
  /** Seconds from then on for which it holds. */
  validFor: z.int().min(1).max(LONGEST_POSTURE),
  /** All that this source says of the subject from now on; none of it is left where this is empty. */
  facts: z
    .record(postureFactName, factValue)
    .refine((facts) => Object.keys(facts).length <= 100, "say at most 100 facts"),
});

export type PostureReport = z.infer<typeof postureReportSchema>;

/** A report as the server keeps it. */
export interface KeptPosture {
  readonly subject: string;
  readonly source: string;
  readonly facts: Readonly<Record<string, boolean | number | string>>;
  readonly observedAt: string;
  readonly expiresAt: string;
}

export interface PostureResponse {
  readonly reports: readonly KeptPosture[];
}
