// SPDX-License-Identifier: Apache-2.0
/** The question and the answer of a policy decision. Pure data: a decision replays from its audit event. */

/** Principal, action, resource and context of one request, in canonical form. */
export interface AccessRequest {
  /** Name of the agent. */
  readonly agent: string;
  /** Name of the server workload. */
  readonly serverWorkload: string;
  /** Operation of the profile or the server workload; absent where none matches. */
  readonly operation?: string;
  /** Model named by the request; absent where it names none. */
  readonly model?: string;
  readonly method: string;
  /** Canonical path, without query. */
  readonly path: string;
  /** Names of the AccessConditions that hold, in order; absent where none does. */
  readonly conditions?: readonly string[];
  /** Names of those of which nobody could tell whether they hold, in order. */
  readonly unknownConditions?: readonly string[];
}

/** What would be decided if the policies in dry-run were enforced too. */
export interface DryRun {
  readonly outcome: "allow" | "deny";
  /** Names of the policies that would decide, enforced ones among them. */
  readonly policies: readonly string[];
  /** As of a `Deny`. */
  readonly reasons: readonly string[];
  readonly credentialProvider?: string;
}

declare const allowBrand: unique symbol;

/** The only key to `obtain-credential`. Made by `decide` alone (`policy/decide.ts`). */
export interface Allow {
  readonly [allowBrand]: true;
  readonly outcome: "allow";
  /** Names of the access policies that permitted it. */
  readonly policies: readonly string[];
  readonly credentialProvider: string;
  readonly serverWorkload: string;
  readonly agent: string;
  /** Only where a policy in dry-run concerns the agent there. */
  readonly dryRun?: DryRun;
}

export interface Deny {
  readonly outcome: "deny";
  readonly code: "access_denied" | "agent_quarantined" | "budget_exhausted" | "approval_required";
  /**
   * Stable machine-readable reasons: `no_matching_policy`, `forbidden`, `policy_error`, `credential_ambiguous`,
   * `condition_unmet`, `condition_unknown`.
   */
  readonly reasons: readonly string[];
  /** Names of the policies that forbade it; empty on a default deny. */
  readonly policies: readonly string[];
  /** One sentence for the agent's developer. */
  readonly detail: string;
  /** Only where a policy in dry-run concerns the agent there. */
  readonly dryRun?: DryRun;
}

export type Decision = Allow | Deny;
