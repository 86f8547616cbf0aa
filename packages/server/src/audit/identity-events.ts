// SPDX-License-Identifier: Apache-2.0
/**
 * What the log says about identities: authorities that come and go, SVIDs that are handed out or refused.
 *
 * OCSF Entity Management (3004). Of a private key or a token nothing has a parameter here.
 */
import type { Instant } from "../kernel/clock.ts";
import { type AuditEvent, frameEvent, quantity, text, texts } from "./event-frame.ts";

export type AuthorityChange = "prepare" | "activate" | "taint" | "revoke";

export interface AuthorityInput {
  readonly id: string;
  readonly time: Instant;
  readonly change: AuthorityChange;
  /** Such as `x509-3`. */
  readonly authority: string;
  readonly trustDomain: string;
  /** Absent where the server did it by itself, because it was time. */
  readonly operatorUid?: number | undefined;
}

/** One per SVID that leaves, and one per request for it that is refused. */
export interface SvidInput {
  readonly id: string;
  readonly time: Instant;
  readonly change: "issue" | "refuse";
  readonly document: "X.509-SVID" | "JWT-SVID" | "WIT-SVID";
  readonly agent?: string | undefined;
  readonly spiffeId?: string | undefined;
  readonly authority?: string | undefined;
  /** Of a certificate. */
  readonly serial?: string | undefined;
  readonly audience?: readonly string[] | undefined;
  readonly expiresAt?: Instant | undefined;
  readonly run?: string | undefined;
  readonly pid?: number | undefined;
  /** SPIFFE ID of who has asked on behalf of the process. */
  readonly broker?: string | undefined;
  /** Of the evidence that it was given for. */
  readonly attestationId?: string | undefined;
  /** Why not. */
  readonly reasons?: readonly string[] | undefined;
}

const CREATE = 1;
const UPDATE = 3;

export function authorityEvent(input: AuthorityInput): AuditEvent {
  const { authority, change, id, operatorUid, time, trustDomain } = input;
  const uid = quantity(operatorUid);
  return frameEvent({
    id,
    time,
    classUid: 3004,
    activityId: change === "prepare" ? CREATE : UPDATE,
    severity: change === "taint" || change === "revoke" ? "high" : "medium",
    succeeded: true,
    kind: "authority",
    attributes: {
      actor: uid === undefined ? { app_name: "Postern" } : { user: { type_id: 2, uid: String(uid) } },
      entity: { name: text(authority), type: "Authority" },
    },
    unmapped: { change, name: text(authority), operator_uid: uid, trust_domain: text(trustDomain) },
  });
}

export function svidEvent(input: SvidInput): AuditEvent {
  const isIssued = input.change === "issue";
  return frameEvent({
    id: input.id,
    time: input.time,
    classUid: 3004,
    activityId: CREATE,
    severity: isIssued ? "informational" : "medium",
    succeeded: isIssued,
    kind: "svid",
    attributes: {
      actor: { app_name: text(input.agent ?? "unknown") },
      entity: { name: text(input.spiffeId ?? "unknown", 2048), type: input.document },
    },
    unmapped: {
      agent: text(input.agent),
      attestation_id: text(input.attestationId, 64),
      audience: input.audience === undefined ? undefined : texts(input.audience, 16),
      authority: text(input.authority),
      broker: text(input.broker, 2048),
      change: input.change,
      document: input.document,
      expires_at: quantity(input.expiresAt),
      pid: quantity(input.pid),
      reasons: input.reasons === undefined ? undefined : texts(input.reasons, 16, 1024),
      run: text(input.run, 64),
      serial: text(input.serial, 64),
      spiffe_id: text(input.spiffeId, 2048),
    },
  });
}
