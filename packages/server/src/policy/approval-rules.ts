// SPDX-License-Identifier: Apache-2.0
/**
 * Which access policies want a person's yes for a request, and is a set of persons enough?
 *
 * A rule stands beside the policy that allows: it takes nothing away from `decide` and can only hold back what was
 * allowed. Where several policies allow the same request, every rule among them must be content: a second policy
 * must not be a way around the first one's question.
 */
import { createHash } from "node:crypto";
import type { Resource, ResourceOf } from "@postern/contract";
import canonicalize from "canonicalize";
import type { AccessRequest, Allow } from "./access-request.ts";
import { evaluateClauses } from "./clauses.ts";

type AccessPolicy = ResourceOf<"AccessPolicy">;
type ApprovalSpec = NonNullable<AccessPolicy["spec"]["approval"]>;

export interface ApprovalRule extends ApprovalSpec {
  /** Name of the AccessPolicy. */
  readonly policy: string;
  /** SHA-256 over the policy, its server workload and its credential provider: a yes counts under these only. */
  readonly basis: string;
}

/** By policy. */
export type ApprovalRules = ReadonlyMap<string, ApprovalRule>;

/** What the rules are made of. */
export interface RuleSource {
  all(kind: "AccessPolicy"): readonly AccessPolicy[];
  get(kind: "ServerWorkload" | "CredentialProvider", name: string): Resource | undefined;
}

/** Undefined where no policy asks anybody, so that nothing has to be looked up for a request then. */
export function approvalRulesOf(source: RuleSource): ApprovalRules | undefined {
  const rules = new Map<string, ApprovalRule>();
  for (const policy of source.all("AccessPolicy")) {
    const { approval, credentialProvider, serverWorkload } = policy.spec;
    if (approval === undefined) continue;
    const basis = digestOf([
      policy.spec,
      source.get("ServerWorkload", serverWorkload)?.spec,
      credentialProvider === undefined ? null : source.get("CredentialProvider", credentialProvider)?.spec,
    ]);
    rules.set(policy.metadata.name, { ...approval, policy: policy.metadata.name, basis });
  }
  return rules.size === 0 ? undefined : rules;
}

/** The rules that speak of this request; empty where it may go without asking. */
export function rulesFor(
  rules: ApprovalRules | undefined,
  allow: Allow,
  request: AccessRequest,
): readonly ApprovalRule[] {
  if (rules === undefined) return [];
  return allow.policies.flatMap((name) => {
    const rule = rules.get(name);
    return rule !== undefined && speaksOf(rule, request) ? [rule] : [];
  });
}

function speaksOf(rule: ApprovalRule, request: AccessRequest): boolean {
  // A condition of which nobody can tell is not among those that hold.
  if (rule.unless?.every((name) => request.conditions?.includes(name) === true) === true) return false;
  if (rule.for === undefined) return true;
  return evaluateClauses(rule.for, request).every(({ matched }) => matched !== undefined);
}

/** One person, as resources name them. */
export interface Person {
  readonly name: string;
  readonly identities: readonly string[];
}

/** Whether this person's yes counts for the rule. `owner` is what the agent's resource says. */
export function mayApprove(
  rule: Pick<ApprovalRule, "approvers" | "ownerMayApprove">,
  person: Person,
  owner: string | undefined,
): boolean {
  if (!rule.approvers.includes(person.name)) return false;
  const isOwner = owner !== undefined && (owner === person.name || person.identities.includes(owner));
  return !isOwner || rule.ownerMayApprove;
}

/** Whether the persons who said yes are enough. Each counts once, however often it was said. */
export const isContent = (
  rule: Pick<ApprovalRule, "approvers" | "needed" | "ownerMayApprove">,
  persons: readonly Person[],
  owner: string | undefined,
): boolean =>
  new Set(persons.filter((person) => mayApprove(rule, person, owner)).map(({ name }) => name)).size >=
  rule.needed;

/** SHA-256 over canonical JSON (RFC 8785), in hex. */
export function digestOf(content: unknown): string {
  const text = canonicalize(content);
  if (text === undefined) throw new TypeError("content has no JSON form");
  return createHash("sha256").update(text).digest("hex");
}
