// SPDX-License-Identifier: Apache-2.0
/**
 * What the log says about what operators and the server do: resources, secrets, agents, runs, the server itself.
 *
 * OCSF Entity Management (3004), Account Change (3001) and Application Lifecycle (6002).
 * Of a secret only name and version have a parameter here.
 */
import type { Instant } from "../kernel/clock.ts";
import { frameEvent, quantity, text, texts } from "./event-frame.ts";
import type { AuditEvent, EventValue } from "./event-frame.ts";

interface ChangeInput {
  readonly id: string;
  readonly time: Instant;
  /** Account of the operator who did it, as the system numbers it; absent where the server did it itself. */
  readonly operatorUid?: number | undefined;
}

export interface ResourceChangeInput extends ChangeInput {
  readonly change: "create" | "update" | "delete";
  readonly resourceKind: string;
  readonly name: string;
  /** SHA-256 of the canonical resource, so that the change can be matched with a file. */
  readonly digest?: string | undefined;
  readonly revision?: number | undefined;
}

export interface SecretChangeInput extends ChangeInput {
  readonly change: "set" | "delete";
  readonly name: string;
  readonly version?: number | undefined;
}

export interface AgentStateInput extends ChangeInput {
  readonly change: "cut" | "restore";
  readonly agent: string;
  readonly reason?: string | undefined;
}

export interface RunInput extends ChangeInput {
  readonly change: "open" | "close";
  readonly run: string;
  readonly agent: string;
  readonly isolated: boolean;
  readonly pid?: number | undefined;
}

export interface PostureChangeInput extends ChangeInput {
  readonly change: "report" | "withdraw";
  readonly subject: string;
  readonly source: string;
  /** As `name=value`. */
  readonly facts: readonly string[];
  readonly expiresAt: Instant;
}

export interface ServerInput extends ChangeInput {
  readonly change: "start" | "stop";
  readonly version: string;
  readonly role?: string | undefined;
  /** What was noticed while starting, such as a torn entry that was cut off. */
  readonly notice?: string | undefined;
}

const ENTITY_ACTIVITY = { create: 1, update: 3, set: 3, delete: 4 } as const;
const ACCOUNT_ACTIVITY = { restore: 2, cut: 5 } as const;
const LIFECYCLE_ACTIVITY = { open: 3, start: 3, close: 4, stop: 4 } as const;

export function resourceChangeEvent(input: ResourceChangeInput): AuditEvent {
  const { change, digest, name, resourceKind, revision } = input;
  return frameEvent({
    ...common(input),
    classUid: 3004,
    activityId: ENTITY_ACTIVITY[change],
    kind: "resource_change",
    attributes: {
      actor: operatorOf(input),
      entity: { name: text(name), type: text(resourceKind, 64), version: versionOf(revision) },
    },
    unmapped: {
      change,
      digest: text(digest, 128),
      name: text(name),
      operator_uid: quantity(input.operatorUid),
      resource_kind: text(resourceKind, 64),
      revision: quantity(revision),
    },
  });
}

export function secretChangeEvent(input: SecretChangeInput): AuditEvent {
  const { change, name, version } = input;
  return frameEvent({
    ...common(input),
    classUid: 3004,
    activityId: ENTITY_ACTIVITY[change],
    kind: "secret_change",
    attributes: {
      actor: operatorOf(input),
      entity: { name: text(name), type: "Secret", version: versionOf(version) },
    },
    unmapped: {
      change,
      name: text(name),
      operator_uid: quantity(input.operatorUid),
      version: quantity(version),
    },
  });
}

export function agentStateEvent(input: AgentStateInput): AuditEvent {
  const { agent, change, reason } = input;
  return frameEvent({
    ...common(input),
    classUid: 3001,
    activityId: ACCOUNT_ACTIVITY[change],
    severity: change === "cut" ? "high" : "medium",
    kind: "agent_state",
    attributes: { actor: operatorOf(input), user: { name: text(agent), type_id: 4 } },
    unmapped: {
      agent: text(agent),
      change,
      operator_uid: quantity(input.operatorUid),
      reason: text(reason, 1024),
    },
  });
}

export function runEvent(input: RunInput): AuditEvent {
  const { agent, change, isolated, pid, run } = input;
  return frameEvent({
    ...common(input),
    classUid: 6002,
    activityId: LIFECYCLE_ACTIVITY[change],
    severity: isolated ? "informational" : "low",
    kind: "run",
    attributes: { app: { name: text(agent), uid: text(run, 64) } },
    unmapped: {
      agent: text(agent),
      change,
      isolated,
      operator_uid: quantity(input.operatorUid),
      pid: quantity(pid),
      run: text(run, 64),
    },
  });
}

/** Written where a source says something else than before, not where it says the same anew. */
export function postureChangeEvent(input: PostureChangeInput): AuditEvent {
  const { change, expiresAt, facts, source, subject } = input;
  return frameEvent({
    ...common(input),
    classUid: 3004,
    activityId: change === "report" ? 3 : 4,
    kind: "posture",
    attributes: { actor: operatorOf(input), entity: { name: text(subject), type: "Posture" } },
    unmapped: {
      change,
      expires_at: quantity(expiresAt),
      facts: texts(facts, 100),
      name: text(subject),
      operator_uid: quantity(input.operatorUid),
      source: text(source, 64),
    },
  });
}

export function serverEvent(input: ServerInput): AuditEvent {
  const { change, notice, role, version } = input;
  return frameEvent({
    ...common(input),
    classUid: 6002,
    activityId: LIFECYCLE_ACTIVITY[change],
    severity: notice === undefined ? "informational" : "medium",
    kind: "server",
    attributes: { app: { name: "Postern", vendor_name: "Postern", version: text(version, 64) } },
    unmapped: {
      change,
      notice: text(notice, 1024),
      operator_uid: quantity(input.operatorUid),
      role: text(role, 64),
      version: text(version, 64),
    },
  });
}

function common({ id, time }: ChangeInput): {
  id: string;
  time: Instant;
  severity: "informational";
  succeeded: true;
} {
  return { id, time, severity: "informational", succeeded: true };
}

function operatorOf({ operatorUid }: ChangeInput): EventValue {
  const uid = quantity(operatorUid);
  return uid === undefined ? { app_name: "Postern" } : { user: { type_id: 2, uid: String(uid) } };
}

function versionOf(version: number | undefined): string | undefined {
  return quantity(version)?.toString();
}
