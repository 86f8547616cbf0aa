// SPDX-License-Identifier: Apache-2.0
/**
 * How would other policies have been asked the same thing, at the same moment?
 *
 * They may ask for conditions that nobody judged then. What depends on time and request alone is judged
 * again as of then; of everything else only a recorded finding of the very same definition counts.
 */
import { ok, refuse, type Result } from "../kernel/result.ts";
import type { AccessRequest } from "./access-request.ts";
import type { CompiledPolicies } from "./compile.ts";
import type { CompiledCondition } from "./conditions/compile-condition.ts";
import { NO_SOURCES } from "./conditions/facts.ts";
import {
  conditionsOf,
  type NotReplayable,
  type RecordedCondition,
  type RecordedDecision,
} from "./recorded-decision.ts";

export function askAgain(
  recorded: RecordedDecision,
  policies: CompiledPolicies,
): Result<AccessRequest, NotReplayable> {
  if (!recorded.asked.ok) return recorded.asked;
  const { conditions: _then, unknownConditions: _unknown, ...request } = recorded.asked.value;
  const { agent, serverWorkload } = request;
  const slice = policies.dryRunSliceOf?.(agent, serverWorkload) ?? policies.sliceOf(agent, serverWorkload);
  if (slice === undefined || slice.conditions.length === 0) return ok(request);
  const found: Found[] = [];
  for (const condition of slice.conditions) {
    const finding = findingOf(condition, recorded, request);
    if (finding === undefined) return refuse("condition_not_judged");
    found.push(finding);
  }
  return ok({ ...request, ...conditionsOf(found) });
}

type Found = Pick<RecordedCondition, "name" | "holds" | "isUnknown">;

function findingOf(
  condition: CompiledCondition,
  { conditions, time }: RecordedDecision,
  request: AccessRequest,
): Found | undefined {
  const { name, definition } = condition;
  const found = conditions.find((finding) => finding.name === name && finding.definition === definition);
  if (found !== undefined || !isInTheLog(condition)) return found;
  const caller = { agent: request.agent, selectors: [] };
  const verdict = condition.judge({ now: time, request, caller, sources: NO_SOURCES });
  if (verdict instanceof Promise) return undefined;
  return { name, holds: verdict.holds, isUnknown: verdict.isUnknown === true };
}

/** Whether everything that it depends on is in the record of a decision. */
const isInTheLog = ({ spec, bodyPointers }: CompiledCondition): boolean =>
  spec.kind === "time" || (spec.kind === "request" && bodyPointers.length === 0);
