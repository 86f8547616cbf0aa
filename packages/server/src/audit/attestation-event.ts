// SPDX-License-Identifier: Apache-2.0
/**
 * What the log says about evidence that was presented: OCSF Authentication (3002), activity Logon.
 *
 * Never the evidence itself, which may be good for another use: its SHA-256 tells whether two were the same.
 */
import type { Instant } from "../kernel/clock.ts";
import { frameEvent, quantity, text, texts } from "./event-frame.ts";
import type { AuditEvent } from "./event-frame.ts";

export interface AttestationInput {
  readonly id: string;
  readonly time: Instant;
  readonly outcome: "matched" | "refused" | "unavailable";
  readonly provider: string;
  readonly providerKind: string;
  readonly evidenceDigest: string;
  readonly agent?: string | undefined;
  /** The exact reason, which whoever presented the evidence is not told. */
  readonly reason?: string | undefined;
  readonly detail?: string | undefined;
  readonly selectors: readonly string[];
  readonly expiresAt?: Instant | undefined;
  /** Who has presented it: an operator of this machine, or somebody from elsewhere. */
  readonly operatorUid?: number | undefined;
  readonly peer?: string | undefined;
}

export function attestationEvent(input: AttestationInput): AuditEvent {
  const { agent, outcome, provider, providerKind } = input;
  const isMatched = outcome === "matched";
  return frameEvent({
    id: input.id,
    time: input.time,
    classUid: 3002,
    activityId: 1,
    severity: isMatched ? "informational" : "medium",
    succeeded: isMatched,
    statusCode: text(input.reason, 64),
    kind: "attestation",
    attributes: {
      auth_protocol: text(providerKind, 64),
      auth_protocol_id: 99,
      is_remote: input.peer !== undefined,
      service: { name: "Postern" },
      user: { name: text(agent) ?? "unidentified", type_id: agent === undefined ? 0 : 4 },
    },
    unmapped: {
      agent: text(agent),
      detail: text(input.detail, 2048),
      evidence_sha256: text(input.evidenceDigest, 64),
      expires_at: quantity(input.expiresAt),
      operator_uid: quantity(input.operatorUid),
      outcome,
      peer: text(input.peer, 64),
      provider: text(provider),
      provider_kind: text(providerKind, 64),
      reason: text(input.reason, 128),
      selectors: texts(input.selectors, 32),
    },
  });
}
