// SPDX-License-Identifier: Apache-2.0
/** What is kept of a question, and which digest finds it again. */
import type { ApprovalSummary, ApprovalVote } from "@postern/contract";
import { type ApprovalRule, digestOf } from "../policy/approval-rules.ts";
import type { StoredApproval } from "../store/approval-store.ts";

/** A request as it would be sent. */
export interface ShownRequest {
  readonly method: string;
  readonly authority: string;
  readonly path: string;
  readonly query: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer | undefined;
}

export interface Question {
  readonly agent: string;
  readonly run?: string;
  readonly rules: readonly ApprovalRule[];
  readonly serverWorkload: string;
  readonly credentialProvider: string;
  readonly operation?: string;
  readonly model?: string;
  readonly request: ShownRequest;
  /** Of the request. */
  readonly digest: string;
}

/** What is kept beside the sealed request. */
export interface Summary extends Omit<
  ApprovalSummary,
  "id" | "agent" | "state" | "votes" | "createdAt" | "expiresAt" | "usesLeft"
> {
  readonly rules: readonly ApprovalRule[];
}

export interface SealedRequest extends Omit<ShownRequest, "body"> {
  /** Base64. */
  readonly body: string | null;
}

/**
 * Everything that has to be the same: a policy or a credential provider that was changed since makes it another question.
 * `credential` is the spec of the provider; of several policies that allow, one that asks nobody may name it.
 */
export const lookupOf = (
  { agent, credentialProvider, digest, rules }: Question,
  credential: object | undefined,
): string => {
  const bases = rules.map(({ basis, policy }) => [policy, basis]);
  return digestOf(["postern approval", 2, agent, digest, bases, credentialProvider, credential ?? null]);
};

/** What this agent would do for the first time, by rule; nothing where no rule asks for that. */
export const firstUsesOf = ({
  agent,
  operation,
  request,
  rules,
  serverWorkload,
}: Question): readonly string[] =>
  rules
    .filter(({ when }) => when === "first-use")
    .map(({ basis, policy }) =>
      digestOf([
        "first use",
        agent,
        policy,
        basis,
        serverWorkload,
        operation ?? [request.method, request.path],
      ]),
    );

export function summarise({
  credentialProvider,
  digest,
  model,
  operation,
  request,
  rules,
  run,
  serverWorkload,
}: Question): Summary {
  return {
    ...{ serverWorkload, credentialProvider, digest, rules, policies: rules.map(({ policy }) => policy) },
    ...{ method: request.method, authority: request.authority, path: request.path },
    ...{ bodyBytes: request.body?.length ?? 0, needed: Math.max(...rules.map(({ needed }) => needed)) },
    approvers: [...new Set(rules.flatMap(({ approvers }) => approvers))].toSorted(),
    ...(run === undefined ? {} : { run }),
    ...(operation === undefined ? {} : { operation }),
    ...(model === undefined ? {} : { model }),
  };
}

export function summaryOf(approval: StoredApproval): ApprovalSummary {
  const { agent, createdAt, expiresAt, id, state, usesLeft } = approval;
  const { rules: _, ...summary } = JSON.parse(approval.summary) as Summary;
  return {
    ...summary,
    ...{ id, agent, state, usesLeft, votes: votesOf(approval) },
    ...{ createdAt: new Date(createdAt).toISOString(), expiresAt: new Date(expiresAt).toISOString() },
  };
}

export const votesOf = (approval: StoredApproval): readonly ApprovalVote[] =>
  JSON.parse(approval.votes) as ApprovalVote[];

export const yesOf = (votes: readonly ApprovalVote[]): string[] =>
  votes.flatMap(({ person, verdict }) => (verdict === "approve" && person !== undefined ? [person] : []));
