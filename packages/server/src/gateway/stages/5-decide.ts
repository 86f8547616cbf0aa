// SPDX-License-Identifier: Apache-2.0
/** Stage 5: may this agent do this now? The policy module answers; here it is only asked. */
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { AccessRequest, Allow } from "../../policy/access-request.ts";
import { type Judgement, NOTHING_TO_JUDGE } from "../../policy/conditions/judge-conditions.ts";
import type { IdentifiedCaller, Snapshot } from "../ports.ts";
import type { MatchedRequest } from "./4-match-server-workload.ts";
import type { Refusal } from "./refusal.ts";

export function accessRequestOf(
  caller: IdentifiedCaller,
  matched: MatchedRequest,
  { holding, unknown }: Judgement = NOTHING_TO_JUDGE,
): AccessRequest {
  return {
    agent: caller.agent,
    serverWorkload: matched.workload.name,
    method: matched.canonical.method,
    path: matched.canonical.path,
    ...(matched.operation === undefined ? {} : { operation: matched.operation }),
    ...(matched.model === undefined ? {} : { model: matched.model }),
    ...(holding.length === 0 ? {} : { conditions: holding }),
    ...(unknown.length === 0 ? {} : { unknownConditions: unknown }),
  };
}

export function decideAccess(request: AccessRequest, snapshot: Snapshot): Result<Allow, Refusal> {
  const decision = snapshot.decide(request);
  if (decision.outcome === "allow") return ok(decision);
  const { code, detail, reasons, policies, dryRun } = decision;
  return refuse({ code, detail, reasons, policies, ...(dryRun === undefined ? {} : { dryRun }) });
}
