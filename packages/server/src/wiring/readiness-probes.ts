// SPDX-License-Identifier: Apache-2.0
/** What must be well for this server to do its work, and how is each asked? */
import type { AuditLog } from "../audit/log.ts";
import type { Vault } from "../credentials/vault/vault.ts";
import type { Probe } from "../telemetry/readiness.ts";
import type { KnownSecrets } from "./known-secrets.ts";

export interface ProbedParts {
  readonly audit: Pick<AuditLog, "failure">;
  readonly vault: Pick<Vault, "allSecrets">;
  readonly knownSecrets: Pick<KnownSecrets, "matcher">;
  /** Reads something, however little. */
  readDatabase(): Promise<unknown>;
  /** Whether word from a shared database is older than may be; undefined where the database is not shared. */
  isStale?(): boolean;
  /** Reads from the store of the budgets' counters, where they have one of their own. */
  readBudgets?(): Promise<unknown>;
}

/** Each stands for a reason for which requests are refused. */
export function readinessProbes(parts: ProbedParts): Readonly<Record<string, Probe>> {
  const { audit, vault, knownSecrets } = parts;
  return {
    audit_log: () =>
      audit.failure() === undefined ? undefined : "the last entry or checkpoint could not be written",
    database: () =>
      parts.isStale === undefined
        ? unless(parts.readDatabase(), "the database in the data folder cannot be read")
        : parts.isStale()
          ? "no word from the database for longer than --max-snapshot-age"
          : undefined,
    vault: () => unless(vault.allSecrets(), "the secrets of the vault cannot be opened"),
    ...(parts.readBudgets === undefined
      ? {}
      : { budgets: () => unless(parts.readBudgets!(), "the budget store cannot be read") }),
    secret_search: () =>
      unless(Promise.resolve(knownSecrets.matcher()), "requests and answers cannot be searched for secrets"),
  };
}

const unless = (done: Promise<unknown>, reason: string): Promise<string | undefined> =>
  done.then(
    () => undefined,
    () => reason,
  );
