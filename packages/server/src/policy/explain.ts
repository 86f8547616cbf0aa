// SPDX-License-Identifier: Apache-2.0
/**
 * Why was a request allowed or denied, and what is the smallest change that would allow it?
 *
 * Cedar names the policies that determined a decision, but nothing on a default deny. So the clauses are evaluated
 * again here, policy by policy; the outcome itself is always that of `decide`.
 */
import { nearestName } from "../kernel/nearest-name.ts";
import type { AccessRequest, Decision, DryRun } from "./access-request.ts";
import { evaluateCedar, questionOf } from "./cedar-slots.ts";
import { type ClauseName, type ClauseResult, evaluateClauses } from "./clauses.ts";
import type { CompiledPolicies, CompiledPolicy, Slice } from "./compile.ts";
import { decide } from "./decide.ts";

export interface FailedClause {
  /** Name of the AccessPolicy. */
  readonly policy: string;
  readonly clause: ClauseName | "agents" | "cedar" | "conditions";
  /** What the policy asks for; the text of the policy for `cedar`. */
  readonly wanted: readonly string[];
  /** What the request had; absent where it had nothing there. */
  readonly saw?: string;
  /** The wanted name most like the one seen: perhaps the request is wrong, not the policy. */
  readonly nearest?: string;
  readonly fix: string;
}

/** A policy that decided, with the clause values that held. */
export interface DeterminingPolicy {
  readonly id: string;
  readonly policy: string;
  readonly effect: "permit" | "forbid";
  readonly clauses: readonly ClauseResult[];
  /** Names of the conditions that held for it. */
  readonly conditions?: readonly string[];
  /** The Cedar text, where the policy is raw Cedar. */
  readonly text?: string;
}

export interface ClosePolicy {
  readonly id: string;
  readonly policy: string;
  readonly failed: readonly FailedClause[];
}

export interface Explanation {
  readonly decision: Decision;
  readonly determining: readonly DeterminingPolicy[];
  /** On a default deny: the permits that come nearest, the nearest first. */
  readonly closest: readonly ClosePolicy[];
}

const MAX_CLOSEST = 3;

/** Explains the decision on `request` under `compiled`. Never throws. */
export function explain(compiled: CompiledPolicies, request: AccessRequest): Explanation {
  const decision = decide(compiled, request);
  const slice = compiled.sliceOf(request.agent, request.serverWorkload);
  const determining = slice === undefined ? [] : determiningPolicies(slice, request);
  const isDefaultDeny = decision.outcome === "deny" && decision.reasons.includes("no_matching_policy");
  return { decision, determining, closest: isDefaultDeny ? closestPolicies(compiled, request) : [] };
}

function determiningPolicies(slice: Slice, request: AccessRequest): DeterminingPolicy[] {
  let ids: readonly string[] = [];
  try {
    const answer = evaluateCedar(slice, questionOf(request));
    if (answer.type === "success") ids = answer.response.diagnostics.reason;
  } catch {
    // `decide` met the same and denied with `policy_error`; there is nothing more to name.
  }
  return [...slice.policies.values()]
    .filter(({ id }) => ids.includes(id))
    .map(({ id, policy, effect, allow, cedar, conditions }) => ({
      id,
      policy,
      effect,
      clauses: allow === undefined ? [] : evaluateClauses(allow, request),
      ...(conditions === undefined ? {} : { conditions }),
      ...(typeof cedar === "string" ? { text: cedar } : {}),
    }));
}

/** First those of this agent, by how far they are, then those that do not list the agent. */
function closestPolicies({ policies }: CompiledPolicies, request: AccessRequest): ClosePolicy[] {
  const candidates = policies
    .filter(
      ({ serverWorkload, effect, isDryRun }) =>
        serverWorkload === request.serverWorkload && effect === "permit" && isDryRun !== true,
    )
    .map((policy) => ({
      id: policy.id,
      policy: policy.policy,
      failed: failedClauses(policy, request),
      isListed: policy.agents.includes(request.agent),
    }));
  return candidates
    .toSorted((a, b) => Number(b.isListed) - Number(a.isListed) || distance(a.failed) - distance(b.failed))
    .slice(0, MAX_CLOSEST)
    .map(({ id, policy, failed }) => ({ id, policy, failed }));
}

/** A policy for another operation is further off than one for another model, or one whose condition does not hold. */
const FAR: Readonly<Partial<Record<FailedClause["clause"], number>>> = {
  operations: 4,
  methods: 3,
  paths: 3,
};

const distance = (failed: readonly FailedClause[]): number =>
  failed.reduce((sum, { clause }) => sum + (FAR[clause] ?? (clause === "conditions" ? 1 : 2)), 0);

function failedClauses(policy: CompiledPolicy, request: AccessRequest): FailedClause[] {
  const failed: FailedClause[] = [];
  if (!policy.agents.includes(request.agent)) failed.push(agentNotListed(policy, request.agent));
  if (policy.allow !== undefined)
    for (const result of evaluateClauses(policy.allow, request))
      if (result.matched === undefined) failed.push(failedClause(policy.policy, result));
  const unmet = policy.conditions?.filter((name) => request.conditions?.includes(name) !== true) ?? [];
  if (unmet.length > 0)
    failed.push({
      policy: policy.policy,
      clause: "conditions",
      wanted: unmet,
      fix: `ask when or in such a way that ${unmet.length === 1 ? "it holds" : "they hold"}; or change the AccessCondition, or spec.conditions of AccessPolicy \`${policy.policy}\``,
    });
  if (typeof policy.cedar === "string" && policy.agents.includes(request.agent))
    failed.push({
      policy: policy.policy,
      clause: "cedar",
      wanted: [policy.cedar],
      fix: `change the conditions of \`${policy.id}\` in spec.cedar of AccessPolicy \`${policy.policy}\``,
    });
  return failed;
}

function agentNotListed({ policy, agents }: CompiledPolicy, agent: string): FailedClause {
  return {
    policy,
    clause: "agents",
    wanted: agents,
    saw: agent,
    ...nearestOf(agent, agents),
    fix: `agent \`${agent}\` is not listed in policy \`${policy}\`: add it to spec.agents of AccessPolicy \`${policy}\``,
  };
}

function failedClause(policy: string, { clause, wanted, saw }: ClauseResult): FailedClause {
  const place = `spec.allow.${clause} of AccessPolicy \`${policy}\``;
  const what = WORDS[clause];
  if (saw === undefined)
    return {
      policy,
      clause,
      wanted,
      fix:
        clause === "operations"
          ? "the request is none of the operations that the profile and the server workload name: check its method and path, or allow those with `methods` and `paths` of another policy"
          : `the request has no ${what.noun}: send one, or remove ${place} if none is needed`,
    };
  const add = what.isPattern ? `add a pattern that matches ${quote(saw)}` : `add ${quote(saw)}`;
  return { policy, clause, wanted, saw, ...nearestOf(saw, wanted), fix: `${add} to ${place}` };
}

const WORDS: Readonly<Record<ClauseName, { readonly noun: string; readonly isPattern: boolean }>> = {
  operations: { noun: "operation", isPattern: false },
  models: { noun: "model", isPattern: false },
  modelPatterns: { noun: "model", isPattern: true },
  methods: { noun: "method", isPattern: false },
  paths: { noun: "path", isPattern: false },
  pathPatterns: { noun: "path", isPattern: true },
};

/** Bounded, as the edit distance is quadratic and `saw` is chosen by the agent. */
function nearestOf(saw: string, wanted: readonly string[]): { nearest?: string } {
  const nearest = saw.length > 200 ? undefined : nearestName(saw, wanted);
  return nearest === undefined ? {} : { nearest };
}

/** The explanation in words, for a terminal; lines end with `\n`. */
export function explanationText({ decision, determining, closest }: Explanation): string {
  const lines: string[] = [];
  if (decision.outcome === "allow")
    lines.push(`allowed with credential provider \`${decision.credentialProvider}\``);
  else lines.push(`denied (${decision.reasons.join(", ")}): ${decision.detail}`);
  for (const { id, effect, clauses, conditions = [], text } of determining) {
    lines.push(`  ${effect === "permit" ? "allowed" : "forbidden"} by \`${id}\``);
    for (const { clause, saw, matched } of clauses)
      lines.push(`    ${clause}: ${quote(saw ?? "")} matches ${quote(matched ?? "")}`);
    if (conditions.length > 0) lines.push(`    conditions: ${listed(conditions)} held`);
    if (text !== undefined) lines.push(`    cedar: ${quote(text)}`);
  }
  if (decision.dryRun !== undefined && differs(decision.dryRun, decision))
    lines.push(`  ${dryRunText(decision.dryRun, decision.outcome)}`);
  for (const { id, failed } of closest) {
    lines.push(`  closest: \`${id}\``);
    for (const { clause, wanted, saw, nearest, fix } of failed) {
      lines.push(`    ${clause}: ${failedText(clause, wanted, saw)}`);
      lines.push(
        `      fix: ${fix}${nearest === undefined ? "" : `; or did the request mean ${quote(nearest)}?`}`,
      );
    }
  }
  return lines.map((line) => `${line}\n`).join("");
}

function failedText(
  clause: FailedClause["clause"],
  wanted: readonly string[],
  saw: string | undefined,
): string {
  if (clause === "conditions")
    return `${listed(wanted)} ${wanted.length === 1 ? "does" : "do"} not hold for this request`;
  if (clause === "cedar") return `does not apply: ${listed(wanted)}`;
  return `wants ${listed(wanted)}; saw ${saw === undefined ? "nothing" : quote(saw)}`;
}

/** Whether the policies in dry-run would change anything, or decide it themselves. */
const differs = (dryRun: DryRun, { outcome, policies }: Decision): boolean =>
  dryRun.outcome !== outcome || JSON.stringify(dryRun.policies) !== JSON.stringify(policies);

function dryRunText({ outcome, policies, reasons }: DryRun, enforced: Decision["outcome"]): string {
  const by = policies.length === 0 ? ` (${reasons.join(", ")})` : ` by ${listed(policies)}`;
  const still = outcome === enforced ? "just the same" : "not in force";
  return `DRY-RUN, ${still}: with the policies in dry-run it would be ${outcome === "allow" ? "allowed" : "denied"}${by}`;
}

const MAX_LISTED = 10;

function listed(values: readonly string[]): string {
  const shown = values.slice(0, MAX_LISTED).map(quote).join(", ");
  return values.length > MAX_LISTED ? `${shown} and ${values.length - MAX_LISTED} more` : shown;
}

/** Shortened, and with control and format characters written out: what an agent sent must not steer a terminal. */
function quote(text: string): string {
  const short = text.length > 300 ? `${text.slice(0, 300)}…` : text;
  return `\`${short.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`)}\``;
}
