// SPDX-License-Identifier: Apache-2.0
/**
 * What the log says about approvals: who said yes or no, and what ended by itself. That one was asked for, and that it
 * released a request, stands in the decision of that request.
 *
 * OCSF Entity Management (3004). Of the request only its digest has a parameter here.
 */
import type { Instant } from "../kernel/clock.ts";
import { type AuditEvent, frameEvent, quantity, text, texts } from "./event-frame.ts";

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
      actor:
        identity === undefined
          ? { app_name: "Postern" }
          : { user: { name: text(person ?? identity), type_id: 2, uid: text(identity, 64) } },
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

/** Account of an operator, as `Approver` resources name it. */
export const identityOfAccount = (uid: number): string => `uid:${quantity(uid) ?? "?"}`;
