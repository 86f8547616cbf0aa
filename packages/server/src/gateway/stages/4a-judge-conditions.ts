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
import type { IdentifiedCaller } from "../ports.ts";
import { asksForUpgrade } from "../websocket/handshake.ts";
import { headerValues } from "./1-read-request.ts";
import { isJson, type MatchedRequest, refusedBody } from "./4-match-server-workload.ts";
import { accessRequestOf } from "./5-decide.ts";
import type { Refusal } from "./refusal.ts";

/** The same request, with its body where a condition reads it. A body that is no plain JSON is left as it is. */
export function readForConditions(
  matched: MatchedRequest,
  request: RawRequest,
  conditions: readonly CompiledCondition[],
  share: BodyShare,
): Result<MatchedRequest, Refusal> | Promise<Result<MatchedRequest, Refusal>> {
  if (matched.body !== undefined || !conditions.some(({ readsBody }) => readsBody)) return ok(matched);
  if (!hasBody(request) || !isJson(request.headers) || asksForUpgrade(request.headers)) return ok(matched);
  return collected(matched, request, share);
}

async function collected(
  matched: MatchedRequest,
  request: RawRequest,
  share: BodyShare,
): Promise<Result<MatchedRequest, Refusal>> {
  const body = await share.collect(request.body);
  return body.ok
    ? ok({ ...matched, body: body.value })
    : refuse(refusedBody(body.reason, "the gateway reads to judge conditions"));
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
    body: matched.body,
    sources: facts,
  });
}
