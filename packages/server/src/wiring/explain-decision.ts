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
  const decision = event?.["unmapped"] as Fields | undefined;
  if (decision === undefined || decision["kind"] !== "decision") return undefined;
  const outcome = await log.findOutcome(id);
  const recorded = parseDecision(event);
  const asked = recorded === undefined ? refuse("incomplete" as const) : askAgain(recorded, state.policies);
  const explanation = asked.ok ? explain(state.policies, asked.value) : undefined;
  const lines = [summary(event, decision)];
  lines.push(...conditionLines(event), ...approvalLines(decision));
  if (explanation !== undefined && decision["policy_digest"] !== state.policies.digest)
    lines.push("the policies have changed since: what follows is what they say now");
  lines.push(
    ...(explanation === undefined
      ? notExplained(event, decision, asked)
      : [explanationText(explanation).trimEnd()]),
  );
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

type Fields = Readonly<Record<string, unknown>>;

const words = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];

const word = (value: unknown, otherwise: string): string => (typeof value === "string" ? value : otherwise);

function summary(event: Fields | undefined, decision: Fields): string {
  const code = typeof decision["code"] === "string" ? ` (${decision["code"]})` : "";
  const model = typeof decision["model"] === "string" ? ` with model ${decision["model"]}` : "";
  const who = `agent ${word(decision["agent"], "that is not identified")}`;
  const what = [
    word(decision["method"], "?"),
    word(decision["server_workload"], ""),
    whatOf(event, decision),
  ];
  return `${word(decision["outcome"], "?")}${code}: ${who}, ${what.filter((part) => part !== "").join(" ")}${model}`;
}

/** The operation; where there is none, what was asked for. */
function whatOf(event: Fields | undefined, decision: Fields): string {
  if (typeof decision["operation"] === "string") return decision["operation"];
  const url = (event?.["http_request"] as { url?: Fields } | undefined)?.url;
  const path = word(url?.["path"], "");
  if (typeof decision["server_workload"] === "string") return `${path} (no known operation)`.trimStart();
  return `${word(url?.["hostname"], "")}${path} (no known server workload)`.trimStart();
}

function approvalLines(decision: Fields): string[] {
  const by = decision["approved_by"];
  if (!Array.isArray(by) || by.length === 0) return [];
  return [`approved by ${by.join(", ")}: approval ${word(decision["approval"], "?")}`];
}

/** Refused by somebody else than the policies, or not in the log as it was decided. */
function notExplained(
  event: Fields | undefined,
  decision: Fields,
  asked: Result<unknown, NotReplayable>,
): string[] {
  const reason = asked.ok ? "not_asked" : asked.reason;
  if (reason !== "not_asked" && reason !== "beyond_policy") return [NOT_REPLAYED[reason]];
  const reasons = words(decision["reasons"]);
  const detail = word(event?.["status_detail"], "no more is known of it");
  const named = reasons.length === 0 ? "" : ` (${reasons.join(", ")})`;
  if (reason === "not_asked") return [`refused before any policy was asked${named}: ${detail}`];
  const policies = words(decision["policies"]).map((name) => `\`${name}\``);
  const by = policies.length === 0 ? "" : `, by ${policies.join(", ")}`;
  return [`the policies allowed it${by}; then it was held back${named}: ${detail}`, ...nextSteps(decision)];
}

function nextSteps(decision: Fields): string[] {
  if (typeof decision["approval"] === "string")
    return [`  see it: postern approvals show ${decision["approval"]}`];
  if (decision["code"] !== "budget_exhausted") return [];
  const budgets = words(decision["reasons"]).flatMap((reason) =>
    reason.includes("/") ? [reason.split("/", 1)[0]!] : [],
  );
  return [...new Set(budgets)].map((budget) => `  see what is left: postern budget show ${budget}`);
}

const NOT_REPLAYED: Readonly<Record<Exclude<NotReplayable, "not_asked" | "beyond_policy">, string>> = {
  cut_short: "the request is too long for the log, so its decision cannot be made again from it",
  masked: "the log hides a part of the request, so its decision cannot be made again from it",
  incomplete: "a part of the request is not in the log, so its decision cannot be made again from it",
  other_schema: "a later version wrote this decision, so it cannot be made again here",
  condition_not_judged:
    "the policies of now ask for a condition that was not judged then, or was another one, so they cannot be asked",
};
