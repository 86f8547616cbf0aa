// SPDX-License-Identifier: Apache-2.0
/** The tables as Kysely sees them; `migrations.ts` makes them. */
import type { Kysely } from "kysely";

export interface Tables {
  schema_migrations: { version: number; name: string; applied_at: number };
  epochs: { name: string; value: number };
  installation: { name: string; value: string };
  resources: {
    kind: string;
    name: string;
    body: string;
    version: number;
    created_at: number;
    updated_at: number;
  };
  secret_names: { name: string; last_version: number };
  secret_versions: {
    name: string;
    version: number;
    sealed: Uint8Array;
    key_id: string;
    created_at: number;
  };
  agent_states: {
    agent: string;
    state: string;
    reason: string;
    changed_by: string;
    changed_at: number;
  };
  authorities: {
    trust_domain: string;
    kind: string;
    generation: number;
    state: string;
    published: Uint8Array;
    chain: Uint8Array | null;
    not_before: number;
    not_after: number;
    created_at: number;
    changed_at: number;
  };
  sealed_keys: {
    name: string;
    algorithm: string;
    public_key: Uint8Array;
    sealed: Uint8Array;
    key_id: string;
    created_at: number;
  };
  join_tokens: { digest: string; provider: string; name: string; expires_at: number };
  approvals: {
    id: string;
    lookup: string;
    agent: string;
    state: string;
    version: number;
    summary: string;
    votes: string;
    sealed: Uint8Array;
    uses_left: number;
    created_at: number;
    expires_at: number;
    changed_at: number;
  };
  grants: {
    id: string;
    agent: string;
    state: string;
    body: string;
    uses_left: number;
    created_at: number;
    expires_at: number;
    changed_at: number;
  };
  posture: { subject: string; source: string; facts: string; observed_at: number; expires_at: number };
  first_uses: { key: string; used_at: number };
  /** Without `reserved` in the embedded store, which keeps that in memory. */
  budget_counters: { key: string; used: number; reserved: number; ends_at: number };
  budget_holders: { holder: string; alive_until: number };
  used_evidence: { digest: string; expires_at: number };
}

export type Database = Kysely<Tables>;

/** Bytes as `Buffer`, whatever the driver gives; no copy. */
export const toBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Order by code units, which no collation of an engine can change. */
export const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
