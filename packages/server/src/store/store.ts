// SPDX-License-Identifier: Apache-2.0
/** What the server remembers: one small interface per aggregate, so that each can be replaced alone. */
import type { AgentStateStore } from "./agent-state-store.ts";
import type { KeyStore } from "./key-store.ts";
import type { ResourceStore } from "./resource-store.ts";
import type { SecretStore } from "./secret-store.ts";

export interface Store {
  readonly resources: ResourceStore;
  readonly secrets: SecretStore;
  readonly agentStates: AgentStateStore;
  readonly keys: KeyStore;
  /** Ids of all master keys under which something is sealed here; empty in a new store. */
  sealedUnder(): Promise<readonly string[]>;
  close(): Promise<void>;
}
