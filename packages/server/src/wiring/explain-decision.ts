// SPDX-License-Identifier: Apache-2.0
/** Answers `postern why`: the recorded decision, and what the policies of now say of the same request. */
import type { WhyResponse } from "@postern/contract";
import type { AuditLog } from "../audit/log.ts";
import type { PublishedState } from "../governance/control-plane.ts";
import type { AccessRequest } from "../policy/access-request.ts";
import { explain, explanationText } from "../policy/explain.ts";

export async function explainDecision(
  log: AuditLog,
  state: PublishedState,
  id: string,
): Promise<WhyResponse | undefined> {
  const event = await log.find(id);
  const decision = event?.["unmapped"] as Readonly<Record<string, unknown>> | undefined;
  if (decision === undefined || decision["kind"] !== "decision") return undefined;
  const outcome = await log.findOutcome(id);
  const request = accessRequestOf(event!, decision);
  const explanation = request === undefined ? undefined : explain(state.policies, request);
  const lines = [summary(decision)];
  if (decision["policy_digest"] !== state.policies.digest)
    lines.push("the policies have changed since: what follows is what they say now");
  lines.push(explanation === undefined ? beforePolicy(decision) : explanationText(explanation));
  return {
    id,
    decision: event,
    explanation: explanation ?? null,
    text: lines.join("\n"),
    ...(outcome === undefined ? {} : { outcome }),
  };
}

const word = (value: unknown, otherwise: string): string => (typeof value === "string" ? value : otherwise);

function summary(decision: Readonly<Record<string, unknown>>): string {
  const code = typeof decision["code"] === "string" ? ` (${decision["code"]})` : "";
  const model = typeof decision["model"] === "string" ? ` with model ${decision["model"]}` : "";
  return `${word(decision["outcome"], "?")}${code}: agent ${word(decision["agent"], "unidentified")}, ${word(decision["method"], "?")} ${word(decision["server_workload"], "an unregistered host")} ${word(decision["operation"], "no known operation")}${model}`;
}

/** The mark that the log puts where a text was too long for it. */
const CUT = /…\[\+\d+\]$/;

/** Refused before any policy was asked, or not in the log as it was decided. */
function beforePolicy(decision: Readonly<Record<string, unknown>>): string {
  const reached = decision["outcome"] === "allow" || decision["code"] === "access_denied";
  if (reached) return "the request is too long for the log, so its decision cannot be made again from it";
  const reasons =
    Array.isArray(decision["reasons"]) && decision["reasons"].length > 0
      ? `: ${decision["reasons"].join(", ")}`
      : "";
  return `no policy was asked: the request was refused before, with ${word(decision["code"], "?")}${reasons}`;
}

function accessRequestOf(
  event: Readonly<Record<string, unknown>>,
  decision: Readonly<Record<string, unknown>>,
): AccessRequest | undefined {
  const { agent, server_workload: serverWorkload, method, operation, model } = decision;
  const http = event["http_request"] as { url?: { path?: unknown } } | undefined;
  const path = http?.url?.path;
  if (typeof agent !== "string" || typeof serverWorkload !== "string") return undefined;
  if (typeof method !== "string" || typeof path !== "string") return undefined;
  // What the log had to cut is not what was decided: it can't be asked again.
  if ([path, operation, model].some((value) => typeof value === "string" && CUT.test(value)))
    return undefined;
  return {
    agent,
    serverWorkload,
    method,
    path,
    ...(typeof operation === "string" ? { operation } : {}),
    ...(typeof model === "string" ? { model } : {}),
  };
}
