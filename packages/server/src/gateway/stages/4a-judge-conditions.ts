// SPDX-License-Identifier: Apache-2.0
/**
 * Stage 4a: which conditions hold for this request, now?
 *
 * Only conditions of policies for this agent and server workload are judged, and the body is read only where one of
 * them asks for it. Where there are none, nothing is done.
 */
import type { Clock } from "../../kernel/clock.ts";
import { ok, refuse, type Result } from "../../kernel/result.ts";
import type { CompiledCondition } from "../../policy/conditions/compile-condition.ts";
import type { FactSources } from "../../policy/conditions/facts.ts";
import { judgeConditions, type Judgement } from "../../policy/conditions/judge-conditions.ts";
import type { BodyShare } from "../body-memory.ts";
import type { RawRequest } from "../http/messages.ts";
import { valuesAt } from "../json-pointers.ts";
import type { IdentifiedCaller } from "../ports.ts";
import { asksForUpgrade } from "../websocket/handshake.ts";
import { headerValues } from "./1-read-request.ts";
import { isJson, type MatchedRequest, refusedBody } from "./4-match-server-workload.ts";
import { accessRequestOf } from "./5-decide.ts";
import type { Refusal } from "./refusal.ts";

/**
 * The same request, with its body where a condition reads it. A body that is no plain JSON is left as it is. For a
 * policy in dry-run no body is read: it could be too large, and then stop what the policy must not stop.
 * `inDryRun` has those that are enforced, too.
 */
export function readForConditions(
  matched: MatchedRequest,
  request: RawRequest,
  conditions: readonly CompiledCondition[],
  share: BodyShare,
  inDryRun: readonly CompiledCondition[] = [],
): Result<MatchedRequest, Refusal> | Promise<Result<MatchedRequest, Refusal>> {
  const enforced = pointersOf(conditions);
  if (enforced.length === 0 && (inDryRun.length === 0 || matched.body === undefined)) return ok(matched);
  const pointers = inDryRun.length === 0 ? enforced : pointersOf(inDryRun);
  if (pointers.length === 0) return ok(matched);
  if (!hasBody(request) || !isJson(request.headers) || asksForUpgrade(request.headers)) return ok(matched);
  return readAt(pointers, matched, request, share);
}

const NONE: readonly string[] = [];

/** By the list of conditions itself, which is the same for all requests of an agent to a server workload. */
const pointersBefore = new WeakMap<readonly CompiledCondition[], readonly string[]>();

function pointersOf(conditions: readonly CompiledCondition[]): readonly string[] {
  if (conditions.length === 0) return NONE;
  let pointers = pointersBefore.get(conditions);
  if (pointers === undefined)
    pointersBefore.set(conditions, (pointers = conditions.flatMap(({ bodyPointers }) => bodyPointers)));
  return pointers;
}

async function readAt(
  pointers: readonly string[],
  matched: MatchedRequest,
  request: RawRequest,
  share: BodyShare,
): Promise<Result<MatchedRequest, Refusal>> {
  const body = matched.body === undefined ? await share.collect(request.body) : ok(matched.body);
  if (!body.ok) return refuse(refusedBody(body.reason, "the gateway reads to judge conditions"));
  return ok({ ...matched, body: body.value, bodyFacts: await valuesAt(body.value, pointers) });
}

const hasBody = ({ headers }: RawRequest): boolean =>
  headerValues(headers, "content-length").length > 0 || headerValues(headers, "transfer-encoding").length > 0;

export interface Judged {
  readonly clock: Clock;
  readonly facts: FactSources;
}

export function judgeNow(
  conditions: readonly CompiledCondition[],
  caller: IdentifiedCaller,
  matched: MatchedRequest,
  { clock, facts }: Judged,
): Judgement | Promise<Judgement> {
  return judgeConditions(conditions, {
    now: clock.now(),
    request: accessRequestOf(caller, matched),
    caller,
    body: matched.bodyFacts,
    sources: facts,
  });
}
