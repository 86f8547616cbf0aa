// SPDX-License-Identifier: Apache-2.0
/**
 * Which clauses of a structured `allow` hold for a request, and which do not?
 *
 * `explain` asks this; `decide` does not: Cedar decides. A property test keeps the two in step.
 */
import type { ResourceOf } from "@postern/contract";
import type { AccessRequest } from "./access-request.ts";
import { globMatches } from "./glob.ts";

export type AllowSpec = NonNullable<ResourceOf<"AccessPolicy">["spec"]["allow"]>;

/** The clauses that compare something, in the order in which people read them. */
export const CLAUSES = [
  { clause: "operations", attribute: "operation", match: "exact" },
  { clause: "models", attribute: "model", match: "exact" },
  { clause: "modelPatterns", attribute: "model", match: "pattern" },
  { clause: "methods", attribute: "method", match: "exact" },
  { clause: "paths", attribute: "path", match: "exact" },
  { clause: "pathPatterns", attribute: "path", match: "pattern" },
] as const;
export type ClauseName = (typeof CLAUSES)[number]["clause"];

export interface ClauseResult {
  readonly clause: ClauseName;
  readonly wanted: readonly string[];
  /** What the request had; absent where it had nothing there. */
  readonly saw?: string;
  /** The value or pattern that holds; absent where the clause fails. */
  readonly matched?: string;
}

/** One result per clause that is there; the policy applies where every one has `matched`. */
export function evaluateClauses(allow: AllowSpec, request: AccessRequest): ClauseResult[] {
  const results: ClauseResult[] = [];
  for (const { clause, attribute, match } of CLAUSES) {
    const wanted = allow[clause];
    if (wanted === undefined) continue;
    const saw = request[attribute];
    const holds = (value: string): boolean =>
      saw !== undefined && (match === "exact" ? value === saw : globMatches(value, saw));
    const matched = wanted.find(holds);
    results.push({
      clause,
      wanted,
      ...(saw === undefined ? {} : { saw }),
      ...(matched === undefined ? {} : { matched }),
    });
  }
  return results;
}
