// SPDX-License-Identifier: Apache-2.0
/** Bodies of the operator's API: HTTP over the Unix socket `control.sock` in the data folder. */
import type { Place } from "./problems.ts";
import type { Resource, ResourceKind } from "./resources.ts";

/** `POST /v1/apply` */
export interface ApplyRequest {
  readonly files: readonly { readonly name: string; readonly text: string }[];
  /** Only say what would change. */
  readonly dryRun: boolean;
}

export interface Change {
  readonly action: "created" | "changed" | "unchanged" | "deleted";
  readonly kind: ResourceKind;
  readonly name: string;
  /** What is different, in words. */
  readonly details: readonly string[];
}

/** Who gains and who loses what by a change of access policies, in words. */
export interface AccessEffect {
  readonly agents: readonly string[];
  readonly serverWorkload: string;
  readonly gains: readonly string[];
  readonly loses: readonly string[];
  /** Names of conditions that its policies ask for and that are not what they were. */
  readonly conditions: readonly string[];
}

export interface ApplyResponse {
  readonly changes: readonly Change[];
  readonly dryRun: boolean;
  /** Of the policies that are in force then, or would be. */
  readonly policyDigest: string;
  readonly effects: readonly AccessEffect[];
  /** What is taken and looks wrong. */
  readonly warnings: readonly Place[];
}

/** `GET /v1/resources`, `GET /v1/resources/KIND`, `GET /v1/resources/KIND/NAME` */
export interface ResourcesResponse {
  readonly resources: readonly StoredResource[];
}

export interface StoredResource {
  readonly resource: Resource;
  readonly version: number;
  readonly updatedAt: string;
  /** For agents: whether they may pass. */
  readonly state?: AgentState;
  /** For agents: runs open now. */
  readonly runs?: readonly RunSummary[];
}

export interface AgentState {
  readonly state: "active" | "cut";
  readonly reason?: string;
  readonly changedAt?: string;
}

export interface RunSummary {
  readonly id: string;
  readonly agent?: string;
  /** False for `--no-isolate`: the agent can reach what its user can. */
  readonly isolated: boolean;
  readonly startedAt: string;
  readonly command: string;
  readonly pid?: number;
}

/** `GET /v1/secrets` */
export interface SecretsResponse {
  readonly secrets: readonly {
    readonly name: string;
    readonly version: number;
    readonly updatedAt: string;
    /** Oldest first; those before the newest serve to recognise a leaked secret. */
    readonly versions: readonly { readonly version: number; readonly createdAt: string }[];
  }[];
}

/** `POST /v1/vault/rotate-key` */
export interface RotateKeyRequest {
  /** Where the new master key is, `file:PATH` or `env:NAME`; absent: a new one in the key file's place. */
  readonly to?: string;
}

export interface RotateKeyResponse {
  readonly from: string;
  readonly to: string;
  /** Values that were sealed anew. */
  readonly values: number;
  /** Where the old key file lies now: backups from before need it. */
  readonly keptAt?: string;
  /** What the server has to be started with from now on. */
  readonly startWith?: string;
}

/** `POST /v1/vault/accept-key` */
export interface AcceptKeyRequest {
  readonly reference: string;
}

export interface AcceptKeyResponse {
  readonly keyId: string;
}

/** `POST /v1/backup`; the answer is a tar archive that ends with `manifest.json`. */
export interface BackupRequest {
  readonly withMasterKey: boolean;
}

export interface BackupManifest {
  readonly format: 1;
  readonly takenAt: string;
  /** With `postgres` the archive holds what lies in the data folder; the database has tools of its own. */
  readonly store: "sqlite" | "postgres";
  /** Id of the master key that opens what is in it. */
  readonly masterKeyId: string;
  readonly holdsMasterKey: boolean;
  readonly files: Readonly<Record<string, { readonly size: number; readonly sha256: string }>>;
}

/** `PUT /v1/secrets/NAME`, body: the bytes of the secret. */
export interface SecretSetResponse {
  readonly name: string;
  readonly version: number;
}

/** `POST /v1/agents/NAME/cut` and `/restore` */
export interface AgentStateResponse {
  readonly agent: string;
  readonly state: "active" | "cut";
  /** Exchanges that were open and are ended now. */
  readonly ended: number;
}

/** `POST /v1/runs` */
export interface OpenRunRequest {
  readonly agent?: string;
  readonly isolated: boolean;
  /** First word of the command, for people. */
  readonly command: string;
  /** The environment that the agent would get; it is checked for secrets and not kept. */
  readonly environment: Readonly<Record<string, string>>;
  /** Variables that stay although their name looks like a secret's; never those that hold one of the vault. */
  readonly keep: readonly string[];
}

export interface OpenRunResponse {
  readonly run: string;
  /** Folder of the run, seen by the agent: CA files and the door's socket. */
  readonly folder: string;
  readonly launchSocket: string;
  readonly launchToken: string;
  /** Variables to set; `{port}` is the gateway's port inside the run. */
  readonly environment: Readonly<Record<string, string>>;
  /** Names of variables that must not reach the agent. */
  readonly removedVariables: readonly string[];
  /** Folders the agent must not see. */
  readonly hide: readonly string[];
  /** `device:inode` of each of those folders and of the run's: whoever hides them makes sure that they are these. */
  readonly identities: Readonly<Record<string, string>>;
}

/** `GET /v1/decisions/ID` */
export interface WhyResponse {
  readonly id: string;
  readonly text: string;
  readonly explanation: unknown;
  readonly decision: unknown;
  readonly outcome?: unknown;
}

/** One thing that the server cannot work without. */
export interface ReadinessCheck {
  readonly name: string;
  readonly ok: boolean;
  /** Why not; quotes nothing. */
  readonly reason?: string;
}

/** `GET /v1/status` */
export interface StatusResponse {
  /** Where the trust bundle is published; absent where it is not. */
  readonly bundleEndpoint?: string;
  /** Whether all of `checks` are well: the answer of `/readyz` too. */
  readonly ready: boolean;
  readonly checks: readonly ReadinessCheck[];
  readonly version: string;
  readonly pid: number;
  readonly epoch: number;
  readonly auditEntries: number;
  /** Verifier key of the audit log, to be kept elsewhere. */
  readonly auditKey: string;
  readonly runs: readonly RunSummary[];
  /** Where remote agents come in. */
  readonly gateway?: string;
}

/** `POST /v1/audit/tiles`: the server writes the log to a folder of its operator's choice. */
export interface AuditTilesRequest {
  /** Absolute path of a folder that is new or empty. */
  readonly folder: string;
}

export interface AuditTilesResponse {
  readonly folder: string;
  /** Entries that the checkpoint in it covers. */
  readonly size: number;
}

/** `POST /v1/attest` */
export interface AttestRequest {
  /** Name of a TrustProvider. */
  readonly provider: string;
  /** Base64. */
  readonly evidence: string;
  /** Say why, and what was proved. */
  readonly explain: boolean;
  /** What the agent gets where one is matched; nothing where it is absent. */
  readonly want?: WantedIdentity;
}

export interface WantedIdentity {
  /** An X.509-SVID for the key of this certificate request (PKCS #10, base64); without it the server makes a key. */
  readonly x509?: { readonly request?: string };
  /** A JWT-SVID for these audiences; for the gateway itself where there are none. */
  readonly jwt?: { readonly audience: readonly string[] };
}

/** What a workload shows from now on. */
export interface IssuedIdentity {
  readonly spiffeId: string;
  readonly x509?: {
    /** PEM, the leaf first. */
    readonly certificate: string;
    /** PEM (PKCS #8), where the server made it. */
    readonly privateKey?: string;
    readonly expiresAt: string;
  };
  readonly jwt?: { readonly token: string; readonly audience: readonly string[]; readonly expiresAt: string };
  /** Whom to believe in this trust domain: PEM of its X.509 authorities, and the same as a SPIFFE trust bundle. */
  readonly authorities: string;
  readonly trustBundle: string;
  /** PEM of the authority by which the gateway reads what is called through it as a proxy. */
  readonly interception: string;
}

export interface AttestResponse {
  /** Of the audit event, which has the exact reason. */
  readonly id: string;
  /** `unavailable`: who vouches for the evidence cannot be asked; the same may succeed later. */
  readonly outcome: "matched" | "refused" | "unavailable";
  readonly agent?: string;
  readonly explanation?: AttestExplanation;
  /** Where it was wanted. */
  readonly identity?: IssuedIdentity;
}

export interface AttestExplanation {
  /** Why no agent was matched, in one word. */
  readonly reason?: string;
  readonly detail?: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly selectors: readonly string[];
  readonly expiresAt?: string;
  /** What the agent's template comes to. */
  readonly spiffeId?: string;
  /** Agents that came closest, with the selectors that did not hold. */
  readonly nearMisses?: readonly { readonly agent: string; readonly failed: readonly string[] }[];
  /** Where several agents match, or the one that matches may not pass. */
  readonly agents?: readonly string[];
}

/** `GET /v1/authorities` */
export interface AuthoritiesResponse {
  readonly trustDomain: string;
  readonly authorities: readonly {
    /** Such as `x509-3`. */
    readonly name: string;
    readonly kind: "x509" | "jwt" | "wit";
    readonly state: "prepared" | "active" | "old" | "tainted" | "revoked";
    readonly notBefore: string;
    readonly notAfter: string;
    /** Since when it is in this state. */
    readonly changedAt: string;
  }[];
}

/** `POST /v1/authorities` and `/v1/authorities/NAME/activate`, `/taint`, `/revoke` */
export interface AuthorityChangeResponse {
  readonly authority: string;
}

/** `POST /v1/svids/check` */
export interface CheckSvidRequest {
  /** A certificate chain in PEM, the leaf first, or a token. */
  readonly svid: string;
  /** For a token: the audience that it has to be for. */
  readonly audience?: string;
}

export interface CheckSvidResponse {
  readonly outcome: "accepted" | "refused";
  readonly reason?: string;
  readonly spiffeId?: string;
  readonly agent?: string;
  readonly expiresAt?: string;
}

/** `POST /v1/join-tokens` */
export interface JoinTokenRequest {
  /** Name of a TrustProvider of kind `join-token`. */
  readonly provider: string;
  /** What the token proves: `join-token:name=NAME`. */
  readonly name: string;
}

export interface JoinTokenResponse {
  /** Shown this once; the server keeps its digest. */
  readonly token: string;
  readonly expiresAt: string;
}
