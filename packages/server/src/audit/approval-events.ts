// SPDX-License-Identifier: Apache-2.0
/**
 * What the log says about approvals: who said yes or no, and what ended by itself. That one was asked for, and that it
 * released a request, stands in the decision of that request.
 *
 * OCSF Entity Management (3004). Of the request only its digest has a parameter here.
 */
import type { Instant } from "../kernel/clock.ts";
import { type AuditEvent, type EventValue, frameEvent, quantity, text, texts } from "./event-frame.ts";

export interface ApprovalEventInput {
  readonly id: string;
  readonly time: Instant;
  readonly change: "approve" | "deny" | "withdraw" | "expire" | "displace";
  readonly approval: string;
  readonly agent: string;
  readonly policies: readonly string[];
  readonly requestDigest: string;
  /** Name of the Approver; absent where an operator who is none said no, or nobody did it. */
  readonly person?: string | undefined;
  /** How the person was recognised. */
  readonly identity?: string | undefined;
  readonly reason?: string | undefined;
}

const ACTIVITY = { approve: 3, deny: 3, withdraw: 3, expire: 4, displace: 4 } as const;

export function approvalEvent(input: ApprovalEventInput): AuditEvent {
  const { agent, approval, change, identity, person, policies, reason, requestDigest } = input;
  return frameEvent({
    ...{ id: input.id, time: input.time, succeeded: true, classUid: 3004, kind: "approval" },
    activityId: ACTIVITY[change],
    severity: change === "approve" ? "medium" : "informational",
    attributes: {
      actor: actorOf(identity, person),
      entity: { name: text(approval, 64), type: "Approval" },
    },
    unmapped: {
      agent: text(agent),
      approval: text(approval, 64),
      change,
      identity: text(identity, 64),
      person: text(person),
      policies: texts(policies, 16),
      reason: text(reason, 1024),
      request_digest: text(requestDigest, 64),
    },
  });
}

export interface GrantEventInput {
  readonly id: string;
  readonly time: Instant;
  readonly change: "create" | "revoke" | "expire";
  readonly grant: string;
  readonly agent: string;
  readonly policies: readonly string[];
  readonly operations?: readonly string[] | undefined;
  readonly models?: readonly string[] | undefined;
  readonly task?: string | undefined;
  readonly expiresAt: Instant;
  readonly person?: string | undefined;
  readonly identity?: string | undefined;
}

export function grantEvent(input: GrantEventInput): AuditEvent {
  const { agent, change, grant, identity, models, operations, person, policies } = input;
  return frameEvent({
    ...{ id: input.id, time: input.time, succeeded: true, classUid: 3004, kind: "grant" },
    activityId: change === "create" ? 1 : 4,
    severity: change === "create" ? "medium" : "informational",
    attributes: { actor: actorOf(identity, person), entity: { name: text(grant, 64), type: "Grant" } },
    unmapped: {
      agent: text(agent),
      change,
      expires_at: quantity(input.expiresAt),
      grant: text(grant, 64),
      identity: text(identity, 64),
      models: models === undefined ? undefined : texts(models, 16),
      operations: operations === undefined ? undefined : texts(operations, 16),
      person: text(person),
      policies: texts(policies, 16),
      task: text(input.task, 1024),
    },
  });
}

const actorOf = (identity: string | undefined, person: string | undefined): EventValue =>
  identity === undefined
    ? { app_name: "Postern" }
    : { user: { name: text(person ?? identity), type_id: 2, uid: text(identity, 64) } };

/** Account of an operator, as `Approver` resources name it. */
export const identityOfAccount = (uid: number): string => `uid:${quantity(uid) ?? "?"}`;
