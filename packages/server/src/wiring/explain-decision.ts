// SPDX-License-Identifier: Apache-2.0
/** Answers `postern why`: the recorded decision, and what the policies of now say of the same request. */
import type { WhyResponse } from "@postern/contract";
import type { AuditLog } from "../audit/log.ts";
import type { PublishedState } from "../governance/control-plane.ts";
import { refuse, type Result } from "../kernel/result.ts";
import { askAgain } from "../policy/ask-again.ts";
import { explain, explanationText } from "../policy/explain.ts";
import { type NotReplayable, parseDecision, recordedConditions } from "../policy/recorded-decision.ts";

export async function explainDecision(
  log: AuditLog,
  state: PublishedState,
  id: string,
): Promise<WhyResponse | undefined> {
  const event = await log.find(id);
  const decision = event?.["unmapped"] as Readonly<Record<string, unknown>> | undefined;
  if (decision === undefined || decision["kind"] !== "decision") return undefined;
  const outcome = await log.findOutcome(id);
  const recorded = parseDecision(event);
  const asked = recorded === undefined ? refuse("incomplete" as const) : askAgain(recorded, state.policies);
  const explanation = asked.ok ? explain(state.policies, asked.value) : undefined;
  const lines = [summary(decision)];
  lines.push(...conditionLines(event));
  if (decision["policy_digest"] !== state.policies.digest)
    lines.push("the policies have changed since: what follows is what they say now");
  lines.push(explanation === undefined ? notExplained(decision, asked) : explanationText(explanation));
  return {
    id,
    decision: event,
    explanation: explanation ?? null,
    text: lines.join("\n"),
    ...(outcome === undefined ? {} : { outcome }),
  };
}

/** One line for each condition that was judged. */
const conditionLines = (event: unknown): string[] =>
  recordedConditions(event).map(
    ({ name, holds, isUnknown, saw }) =>
      `condition \`${name}\` ${holds ? "held" : isUnknown ? "was not met: nobody could tell" : "was not met"}: ${saw}`,
  );

const word = (value: unknown, otherwise: string): string => (typeof value === "string" ? value : otherwise);

function summary(decision: Readonly<Record<string, unknown>>): string {
  const code = typeof decision["code"] === "string" ? ` (${decision["code"]})` : "";
  const model = typeof decision["model"] === "string" ? ` with model ${decision["model"]}` : "";
  return `${word(decision["outcome"], "?")}${code}: agent ${word(decision["agent"], "unidentified")}, ${word(decision["method"], "?")} ${word(decision["server_workload"], "an unregistered host")} ${word(decision["operation"], "no known operation")}${model}`;
}

/** Refused before any policy was asked, or not in the log as it was decided. */
function notExplained(
  decision: Readonly<Record<string, unknown>>,
  asked: Result<unknown, NotReplayable>,
): string {
  if (!asked.ok && asked.reason !== "not_asked") return NOT_REPLAYED[asked.reason];
  const reasons =
    Array.isArray(decision["reasons"]) && decision["reasons"].length > 0
      ? `: ${decision["reasons"].join(", ")}`
      : "";
  return `no policy was asked: the request was refused before, with ${word(decision["code"], "?")}${reasons}`;
}

const NOT_REPLAYED: Readonly<Record<Exclude<NotReplayable, "not_asked">, string>> = {
  cut_short: "the request is too long for the log, so its decision cannot be made again from it",
  masked: "the log hides a part of the request, so its decision cannot be made again from it",
  incomplete: "a part of the request is not in the log, so its decision cannot be made again from it",
  beyond_policy: "the policies allowed it; what is missing is a yes of a person, or budget",
  other_schema: "a later version wrote this decision, so it cannot be made again here",
  condition_not_judged:
    "the policies of now ask for a condition that was not judged then, or was another one, so they cannot be asked",
};
