// SPDX-License-Identifier: Apache-2.0
/** What the server remembers: one small interface per aggregate, so that each can be replaced alone. */
import type { BudgetLedger } from "../budget/ledger.ts";
import type { ChangeFeed, Epochs } from "./changes.ts";
import type { ApprovalStore } from "./approval-store.ts";
import type { AuthorityStore } from "./authority-store.ts";
import type { AgentStateStore } from "./agent-state-store.ts";
import type { EvidenceStore } from "./evidence-store.ts";
import type { GrantStore } from "./grant-store.ts";
import type { JoinTokenStore } from "./join-token-store.ts";
import type { KeyStore } from "./key-store.ts";
import type { PostureStore } from "./posture-store.ts";
import type { ResourceStore } from "./resource-store.ts";
import type { SealedValueStore } from "./sealed-value-store.ts";
import type { SecretStore } from "./secret-store.ts";

export interface Store {
  readonly resources: ResourceStore;
  readonly secrets: SecretStore;
  readonly agentStates: AgentStateStore;
  readonly keys: KeyStore;
  readonly authorities: AuthorityStore;
  readonly sealedValues: SealedValueStore;
  readonly evidence: EvidenceStore;
  readonly joinTokens: JoinTokenStore;
  readonly approvals: ApprovalStore;
  readonly grants: GrantStore;
  readonly posture: PostureStore;
  readonly budgets: BudgetLedger;
  epochs(): Promise<Epochs>;
  /** Absent where no other server can change anything here. */
  readonly feed?: ChangeFeed;
  /** Writes a copy of one moment to a new file; absent where the engine has tools of its own for that. */
  readonly copyTo?: (file: string) => Promise<void>;
  /** Ids of all master keys under which something is sealed here; empty in a new store. */
  sealedUnder(): Promise<readonly string[]>;
  close(): Promise<void>;
}
