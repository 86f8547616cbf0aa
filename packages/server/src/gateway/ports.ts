// SPDX-License-Identifier: Apache-2.0
/** What the gateway needs from outside, as small ports: it can run without a database. */
import type { CompiledBudgets } from "../budget/compile-budgets.ts";
import type { Matcher } from "../guard/pattern-matcher.ts";
import type { Instant } from "../kernel/clock.ts";
import type { Result } from "../kernel/result.ts";
import type { Secret } from "../kernel/secret.ts";
import type { AccessRequest, Allow, Decision, DryRun } from "../policy/access-request.ts";
import type { CompiledCondition } from "../policy/conditions/compile-condition.ts";
import type { ConditionResult } from "../policy/conditions/judge-conditions.ts";
import type { ApprovalRule, ApprovalRules } from "../policy/approval-rules.ts";
import type { HeldRequest } from "./held-request.ts";
import type { Profile, ProfileInjection, ProfileOperation } from "../profiles/profile.ts";
import type { Ending } from "./ending.ts";
import type { HeaderList } from "./http/messages.ts";

/** A server workload as the gateway uses it: resource and profile joined. */
export interface GatewayWorkload {
  readonly name: string;
  readonly profile: Profile;
  readonly hosts: readonly string[];
  readonly port: number;
  readonly injections: readonly ProfileInjection[];
  readonly operations: readonly ProfileOperation[];
  readonly connectTo?: { readonly address: string; readonly port: number };
  readonly allowedNetworks: readonly string[];
  readonly caCertificates?: string;
  readonly clientIdentity?: "svid";
  readonly serverSpiffeId?: string;
}

export interface GatewayAgent {
  readonly name: string;
  readonly isCut: boolean;
  readonly expiresAt?: Instant;
}

/** Everything a decision needs, compiled and immutable; replaced as a whole when anything changes. */
export interface Snapshot {
  /** Grows with every change. */
  readonly epoch: number;
  readonly agents: ReadonlyMap<string, GatewayAgent>;
  readonly serverWorkloads: ReadonlyMap<string, GatewayWorkload>;
  /** By `host:port`. */
  readonly byAuthority: ReadonlyMap<string, GatewayWorkload>;
  readonly policyDigest: string;
  /** Absent where there are none. */
  readonly budgets?: CompiledBudgets;
  decide(request: AccessRequest): Decision;
  /** What has to be judged before it is decided what this agent may do there, by name; mostly nothing. */
  conditionsOf(agent: string, serverWorkload: string): readonly CompiledCondition[];
  /** Policies that want a person's yes; absent where none does. */
  readonly approvalRules?: ApprovalRules | undefined;
  /**
   * These and those of policies in dry-run, where one concerns the agent there. They are judged as far as the request
   * was read anyway: a policy in dry-run must not stop one. Absent where no policy is in dry-run.
   */
  readonly dryRunConditionsOf?: (
    agent: string,
    serverWorkload: string,
  ) => readonly CompiledCondition[] | undefined;
  /** True while nobody can tell whether it is still right; absent where it is always. */
  isStale?(): boolean;
}

export interface ControlPlane {
  readonly snapshot: Snapshot;
}

/** Who is behind a connection: a process of a run, or somebody elsewhere who has shown an SVID. */
export interface IdentifiedCaller {
  readonly agent: string;
  /** This, `isolated` and `process` only of a process of a run. */
  readonly run?: string;
  readonly isolated?: boolean;
  readonly selectors: readonly string[];
  readonly process?: { readonly pid: number; readonly path: string };
  /** Where it connects from, where it is not this machine. */
  readonly address?: string;
  /** What a remote agent has shown. */
  readonly svid?: PresentedSvid;
}

export interface PresentedSvid {
  readonly spiffeId: string;
  readonly document: "X.509-SVID" | "JWT-SVID";
}

type Identified = Result<IdentifiedCaller, string>;

/** A connection's caller. Asked for each request; at once where the answer is known and nothing has changed. */
export interface Caller {
  /** Absent of callers that are elsewhere, and so is `isolated`. */
  readonly run?: string;
  readonly isolated?: boolean;
  /** Whom it takes turns as: its run, or where it comes from. */
  readonly origin: string;
  /** Whether anybody may be at the other end: then nothing of a request is looked at before it is known who sent it. */
  readonly isRemote?: boolean;
  /** `headers` are the request's: a remote agent may show a token there. */
  identify(epoch: number, headers?: HeaderList): Identified | Promise<Identified>;
  /** Who speaks inside the tunnel that this CONNECT opens; absent where it is the same. */
  inTunnel?(headers: HeaderList): Caller;
  /** Comes when what the caller has shown does not hold any longer. */
  readonly lost?: Ending;
}

/** Usable means of access with the secret in it. */
export interface Credential {
  readonly provider: string;
  readonly secret: Secret;
  readonly version: number;
}

export interface CredentialSource {
  obtain(allow: Allow): Result<Credential, string> | Promise<Result<Credential, string>>;
}

/** Every secret of the vault, to be looked for in what leaves and in what comes back. */
export interface KnownSecrets {
  /** Knows `injected` too, whatever the vault holds by now. Rejects where secrets were never readable. */
  matcher(injected?: Secret): Matcher | Promise<Matcher>;
}

/** What a person is asked, and what the answer will be known by. */
export interface ApprovalQuestion {
  readonly agent: string;
  /** Absent for an agent on another machine. */
  readonly run?: string;
  readonly rules: readonly ApprovalRule[];
  readonly serverWorkload: string;
  /** Whose credential would be added. */
  readonly credentialProvider: string;
  readonly operation?: string;
  readonly model?: string;
  /** To the byte what would be sent. */
  readonly request: HeldRequest;
  readonly digest: string;
}

export type ApprovalAnswer =
  /** Nobody has to be asked for it any more. */
  | { readonly status: "free" }
  /** One use of it is taken. `by` names persons. */
  | { readonly status: "released"; readonly id: string; readonly by: readonly string[] }
  | { readonly status: "pending" | "denied"; readonly id: string; readonly expiresAt: Instant }
  /** The agent has asked so often that nobody is asked. */
  | { readonly status: "too_often"; readonly most: number };

/** Persons, as the gateway reaches them. Rejects where it cannot be known what they said. */
export interface Approvals {
  ask(question: ApprovalQuestion): Promise<ApprovalAnswer>;
  /** Resolves when somebody has decided, with true; or when the time is up or the agent has gone. */
  settled(id: string, agent: string, milliseconds: number, gone: Ending): Promise<boolean>;
}

export interface DecisionRecord {
  readonly id: string;
  readonly time: Instant;
  readonly outcome: "allow" | "deny";
  readonly code?: string | undefined;
  readonly reasons: readonly string[];
  readonly policies: readonly string[];
  readonly detail?: string | undefined;
  readonly caller?: IdentifiedCaller | undefined;
  readonly run?: string | undefined;
  readonly isolated?: boolean | undefined;
  /** Where a remote caller comes from. */
  readonly peer?: string | undefined;
  readonly mode?: "base-url" | "proxy" | "connect" | undefined;
  readonly method?: string | undefined;
  readonly host?: string | undefined;
  readonly path?: string | undefined;
  readonly serverWorkload?: string | undefined;
  readonly operation?: string | undefined;
  readonly model?: string | undefined;
  readonly credentialProvider?: string | undefined;
  readonly policyDigest: string;
  /** What the policies in dry-run would make of it; absent where there are none. */
  readonly dryRun?: DryRun | undefined;
  /** What was found of the conditions that it depended on. */
  readonly conditions?: readonly ConditionResult[] | undefined;
  /** Id of the approval that it waits for or that released it. */
  readonly approval?: string | undefined;
  /** Persons who said yes. */
  readonly approvedBy?: readonly string[] | undefined;
  /** SHA-256 of the request as a person was shown it. */
  readonly requestDigest?: string | undefined;
  /** What was reserved, as `budget/unit=amount`; absent where no budget counted it. */
  readonly reserved?: readonly string[] | undefined;
}

export interface OutcomeRecord {
  readonly id: string;
  readonly time: Instant;
  readonly decisionId: string;
  readonly agent?: string | undefined;
  readonly serverWorkload?: string | undefined;
  readonly status?: number | undefined;
  readonly code?: string | undefined;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly durationMs: number;
  readonly usage?: Readonly<Record<string, number>> | undefined;
  readonly scrubbed: number;
  /** What its budgets were charged, as `budget/unit=amount`. */
  readonly charged?: readonly string[] | undefined;
  /** How that was known. */
  readonly chargeBasis?: "reported" | "seen" | "bound" | "nothing" | undefined;
  readonly ended: "complete" | "client_aborted" | "upstream_failed" | "cut" | "refused";
  /** Why it was refused or cut, where there is more to say than the code. */
  readonly reasons?: readonly string[] | undefined;
}

/** The audit log as the gateway uses it. Throws, or rejects, when it cannot keep the record. */
export interface AuditSink {
  /** Written when it returns; durable when `durable` resolves. */
  decision(record: DecisionRecord): { readonly durable: Promise<void> };
  outcome(record: OutcomeRecord): void;
}

/** Points in the life of a request, in milliseconds of one monotonic clock; absent where it did not get there. */
export interface ExchangeTiming {
  readonly begun: number;
  /** The body, where it was needed for that, has been read. */
  readonly decided?: number | undefined;
  readonly connecting?: number | undefined;
  readonly connected?: number | undefined;
  /** The request is on its way to the upstream. */
  readonly sent?: number | undefined;
  /** The head of the upstream's answer is there. */
  readonly answered?: number | undefined;
  /** Answering the agent begins. */
  readonly answering?: number | undefined;
  readonly ended: number;
}

/** Hears of each request when it is over. Must be quick; what it does is never waited for, what it throws is lost. */
export interface ExchangeObserver {
  /** Whether it wants the header `traceparent` of requests. */
  readonly followsTraces: boolean;
  /** Without a decision where the agent went away before there was one. */
  ended(
    decision: DecisionRecord | undefined,
    outcome: OutcomeRecord,
    timing: ExchangeTiming,
    traceparent: string | undefined,
  ): void;
}

export interface OwnCertificate {
  /** PEM, the leaf first. */
  readonly certificate: string;
  /** PEM. */
  readonly privateKey: string;
}

/** The gateway's own identity, and whom it believes. */
export interface UpstreamIdentity {
  /** Another object once it was renewed. */
  own(): Promise<OwnCertificate>;
  /** The newest, where there is one yet. */
  readonly current: OwnCertificate | undefined;
  /** Why these certificates, DER and the leaf first, do not prove this SPIFFE ID now; undefined where they do. */
  problemOf(chain: readonly Buffer[], spiffeId: string): string | undefined;
}

/** Signs leaf certificates for interception. The private key stays behind it. */
export interface InterceptionAuthority {
  readonly commonName: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Buffer;
  readonly certificatePem: string;
  sign(bytes: Buffer): Buffer;
}
