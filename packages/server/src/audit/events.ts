// SPDX-License-Identifier: Apache-2.0
/**
 * What the log says about a request: the decision before anything leaves, and the outcome afterwards.
 *
 * OCSF API Activity (6003). Nothing of a request's content, query or credential has a parameter here.
 */
import type { Instant } from "../kernel/clock.ts";
import { CEDAR_SCHEMA_VERSION } from "../policy/cedar-schema.ts";
import { OCSF_VERSION, quantity, SEVERITY_ID, text, texts } from "./event-frame.ts";
import type { AuditEvent, EventValue, Severity } from "./event-frame.ts";

export interface PeerProcess {
  readonly pid: number;
  readonly path: string;
  readonly sha256?: string;
}

export interface DecisionInput {
  readonly id: string;
  readonly time: Instant;
  readonly agent?: string | undefined;
  readonly run?: string | undefined;
  readonly isolated?: boolean | undefined;
  readonly process?: PeerProcess | undefined;
  readonly selectors: readonly string[];
  readonly serverWorkload?: string | undefined;
  readonly operation?: string | undefined;
  readonly model?: string | undefined;
  /** This and the next two are absent where the request was refused before it could be read. */
  readonly method?: string | undefined;
  readonly host?: string | undefined;
  /** Without query; whatever follows a `?` or `#` is dropped. */
  readonly path?: string | undefined;
  readonly outcome: "allow" | "deny";
  readonly code?: string | undefined;
  readonly reasons: readonly string[];
  readonly policies: readonly string[];
  /** The sentence that the agent's developer was given. */
  readonly detail?: string | undefined;
  readonly credentialProvider?: string | undefined;
  readonly policyDigest?: string | undefined;
  /** What was reserved of budgets, as `budget/unit=amount`. */
  readonly reserved?: readonly string[] | undefined;
  /** How the request came in: `base-url`, `proxy` or `connect`. */
  readonly mode?: string | undefined;
  /** Address of a remote caller, and what it has shown. */
  readonly peer?: string | undefined;
  readonly svid?: { readonly spiffeId: string; readonly document: string } | undefined;
  /** What the policies in dry-run would make of it. */
  readonly dryRun?:
    | {
        readonly outcome: "allow" | "deny";
        readonly policies: readonly string[];
        readonly reasons: readonly string[];
        readonly credentialProvider?: string;
      }
    | undefined;
  /** What was found of the conditions that it depended on. */
  readonly conditions?: readonly ConditionFinding[] | undefined;
  /** Id of the approval that it waits for or that released it. */
  readonly approval?: string | undefined;
  readonly approvedBy?: readonly string[] | undefined;
  readonly requestDigest?: string | undefined;
}

export interface ConditionFinding {
  readonly condition: string;
  /** Which spec of the condition this is about. */
  readonly definition: string;
  readonly holds: boolean;
  readonly isUnknown?: true;
  /** What was seen. */
  readonly words: string;
  readonly validUntil?: Instant;
}

export interface OutcomeInput {
  readonly id: string;
  readonly time: Instant;
  readonly decisionId: string;
  readonly agent?: string | undefined;
  readonly serverWorkload?: string | undefined;
  /** Status of the answer, where there was one. */
  readonly status?: number | undefined;
  readonly code?: string | undefined;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly durationMs: number;
  readonly usage?: Readonly<Record<string, number | undefined>> | undefined;
  /** How many reflected secrets were taken out of the answer. */
  readonly scrubbed: number;
  /** What budgets were charged, as `budget/unit=amount`. */
  readonly charged?: readonly string[] | undefined;
  readonly chargeBasis?: string | undefined;
  readonly ended: "complete" | "client_aborted" | "upstream_failed" | "cut" | "refused";
  readonly reasons?: readonly string[] | undefined;
}

const UNKNOWN = "unknown";

/** Activities of API Activity; a method that is none of these is 99, other. */
const ACTIVITY_OF_METHOD: ReadonlyMap<string, number> = new Map([
  ["POST", 1],
  ["GET", 2],
  ["HEAD", 2],
  ["OPTIONS", 2],
  ["PUT", 3],
  ["PATCH", 3],
  ["DELETE", 4],
]);

const KNOWN_METHODS = new Set([...ACTIVITY_OF_METHOD.keys(), "CONNECT", "TRACE"]);

/** What the two events of a request have in common. The members stand in canonical order, see encode-event.ts. */
interface RequestEvent {
  readonly id: string;
  readonly time: Instant;
  readonly activityId: number;
  readonly activityName: string;
  readonly actor: EventValue;
  readonly aiModel?: EventValue;
  readonly api: EventValue;
  readonly dispositionId?: number;
  readonly destination?: EventValue;
  readonly duration?: number | undefined;
  readonly httpRequest?: EventValue;
  readonly httpResponse?: EventValue;
  readonly profiles?: readonly string[];
  readonly severity: Severity;
  readonly source: EventValue;
  readonly code: string | undefined;
  readonly detail?: string | undefined;
  readonly succeeded: boolean;
  readonly unmapped: AuditEvent["unmapped"];
}

const PRODUCT = { name: "Postern", vendor_name: "Postern" };

function requestEvent(event: RequestEvent): AuditEvent {
  return {
    action_id: event.dispositionId,
    activity_id: event.activityId,
    activity_name: event.activityName,
    actor: event.actor,
    ai_model: event.aiModel,
    api: event.api,
    category_uid: 6,
    class_uid: 6003,
    disposition_id: event.dispositionId,
    dst_endpoint: event.destination,
    duration: event.duration,
    http_request: event.httpRequest,
    http_response: event.httpResponse,
    metadata: { product: PRODUCT, profiles: event.profiles, uid: text(event.id, 64), version: OCSF_VERSION },
    severity_id: SEVERITY_ID[event.severity],
    src_endpoint: event.source,
    status_code: text(event.code, 64),
    status_detail: event.detail,
    status_id: event.succeeded ? 1 : 2,
    time: event.time,
    type_uid: 600_300 + event.activityId,
    unmapped: event.unmapped,
  };
}

const WITHOUT_MODEL = ["security_control"];
const WITH_MODEL = ["ai_operation", "security_control"];

export function decisionEvent(input: DecisionInput): AuditEvent {
  const allowed = input.outcome === "allow";
  const method = text(input.method ?? UNKNOWN, 32);
  const model = text(input.model);
  const operation = text(input.operation);
  return requestEvent({
    id: input.id,
    time: input.time,
    activityId: ACTIVITY_OF_METHOD.get(method) ?? 99,
    activityName: method,
    actor: actorOf(input),
    aiModel:
      model === undefined ? undefined : { ai_provider: text(input.serverWorkload ?? UNKNOWN), name: model },
    api: apiOf(operation ?? method, input.serverWorkload, input.id),
    dispositionId: allowed ? 1 : 2,
    destination: input.host === undefined ? undefined : { hostname: text(input.host, 255) },
    httpRequest: httpRequestOf(input),
    profiles: model === undefined ? WITHOUT_MODEL : WITH_MODEL,
    severity: allowed ? "informational" : "medium",
    source: sourceOf(input.agent, input.run),
    code: input.code,
    detail: text(input.detail, 1024),
    succeeded: allowed,
    unmapped: {
      agent: text(input.agent),
      approval: text(input.approval, 64),
      approved_by: input.approvedBy === undefined ? undefined : texts(input.approvedBy, 8),
      code: text(input.code, 64),
      conditions: input.conditions?.slice(0, 64).map(conditionOf),
      credential_provider: text(input.credentialProvider),
      document: text(input.svid?.document, 64),
      dry_run: input.dryRun === undefined ? undefined : dryRunOf(input.dryRun),
      isolated: input.isolated,
      kind: "decision",
      method,
      mode: text(input.mode, 32),
      model,
      operation,
      outcome: input.outcome,
      peer: text(input.peer, 64),
      policies: texts(input.policies, 16),
      policy_digest: text(input.policyDigest, 128),
      policy_schema: input.policyDigest === undefined ? undefined : CEDAR_SCHEMA_VERSION,
      reasons: texts(input.reasons, 16),
      request_digest: text(input.requestDigest, 64),
      reserved: input.reserved === undefined ? undefined : texts(input.reserved, 32),
      run: text(input.run, 64),
      selectors: texts(input.selectors, 32, 200),
      server_workload: text(input.serverWorkload),
      spiffe_id: text(input.svid?.spiffeId, 2048),
    },
  });
}

export function outcomeEvent(input: OutcomeInput): AuditEvent {
  const succeeded = input.ended === "complete" && input.code === undefined && (input.status ?? 0) < 400;
  const status = quantity(input.status);
  return requestEvent({
    id: input.id,
    time: input.time,
    activityId: 99,
    activityName: "outcome",
    actor: actorOf(input),
    api: apiOf("outcome", input.serverWorkload, input.decisionId),
    duration: quantity(input.durationMs),
    httpResponse: status === undefined ? undefined : { code: status },
    severity: succeeded ? "informational" : "low",
    source: sourceOf(input.agent),
    code: input.code,
    succeeded,
    unmapped: {
      agent: text(input.agent),
      bytes_in: quantity(input.bytesIn),
      bytes_out: quantity(input.bytesOut),
      charge_basis: text(input.chargeBasis, 32),
      charged: input.charged === undefined ? undefined : texts(input.charged, 32),
      code: text(input.code, 64),
      decision_id: text(input.decisionId, 64),
      ended: input.ended,
      kind: "outcome",
      reasons: input.reasons === undefined ? undefined : texts(input.reasons, 16),
      scrubbed: quantity(input.scrubbed),
      server_workload: text(input.serverWorkload),
      usage: input.usage === undefined ? undefined : usageOf(input.usage),
    },
  });
}

const dryRunOf = (dryRun: NonNullable<DecisionInput["dryRun"]>): EventValue => ({
  credential_provider: text(dryRun.credentialProvider),
  outcome: dryRun.outcome,
  policies: texts(dryRun.policies, 16),
  reasons: texts(dryRun.reasons, 16),
});

const conditionOf = (finding: ConditionFinding): EventValue => ({
  definition: text(finding.definition, 64),
  holds: finding.holds,
  name: text(finding.condition, 64),
  saw: text(finding.words, 256),
  unknown: finding.isUnknown,
  valid_until: quantity(finding.validUntil),
});

function httpRequestOf({ host, method, path }: DecisionInput): EventValue {
  return {
    http_method: method !== undefined && KNOWN_METHODS.has(method) ? method : undefined,
    url: path === undefined ? undefined : { hostname: text(host, 255), path: pathWithoutQuery(path) },
  };
}

function pathWithoutQuery(path: string): string {
  return text(path.split(/[?#]/, 1)[0] ?? "", 1024);
}

function apiOf(operation: string, serverWorkload: string | undefined, requestUid: string): EventValue {
  return {
    operation,
    request: { uid: text(requestUid, 64) },
    service: serverWorkload === undefined ? undefined : { name: text(serverWorkload) },
  };
}

function actorOf(input: Pick<DecisionInput, "agent" | "run" | "process">): EventValue {
  return {
    app_name: text(input.agent ?? UNKNOWN),
    process: input.process === undefined ? undefined : processOf(input.process),
    session: input.run === undefined ? undefined : { uid: text(input.run, 64) },
  };
}

function processOf({ pid, path, sha256 }: PeerProcess): EventValue {
  const name = path.slice(path.lastIndexOf("/") + 1);
  return {
    file: {
      hashes:
        sha256 === undefined
          ? undefined
          : [{ algorithm: "SHA-256", algorithm_id: 3, value: text(sha256, 64) }],
      name: text(name),
      path: text(path, 1024),
      type_id: 1,
    },
    pid: quantity(pid),
  };
}

function sourceOf(agent: string | undefined, run?: string): EventValue {
  return { instance_uid: text(run, 64), name: text(agent ?? UNKNOWN) };
}

function usageOf(usage: Readonly<Record<string, number | undefined>>): EventValue {
  const entries = Object.entries(usage)
    .slice(0, 16)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([name, value]) => [text(name, 64), quantity(value)]));
}
