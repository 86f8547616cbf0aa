// SPDX-License-Identifier: Apache-2.0
/** Which requests wait for a person, and which may be sent now? */
import type { Instant } from "../kernel/clock.ts";

/** `pending`, `approved` and `denied` answer the same request when it comes again; the others are over. */
export type ApprovalState =
  "pending" | "approved" | "denied" | "used" | "expired" | "displaced" | "withdrawn";

export interface NewApproval {
  readonly id: string;
  /** Digest of everything that has to be the same for this approval to count. */
  readonly lookup: string;
  readonly agent: string;
  /** What lists show, as JSON. Nothing of the query, the headers or the body. */
  readonly summary: string;
  /** The request as it would be sent, encrypted. */
  readonly sealed: Buffer;
  readonly expiresAt: Instant;
}

export interface StoredApproval extends NewApproval {
  readonly state: ApprovalState;
  /** Grows with every change. */
  readonly version: number;
  /** Who said what, as JSON. */
  readonly votes: string;
  readonly usesLeft: number;
  readonly createdAt: Instant;
  readonly changedAt: Instant;
}

export interface ApprovalChange {
  readonly state: ApprovalState;
  readonly votes: string;
  readonly usesLeft: number;
  readonly expiresAt: Instant;
}

/** What one agent may ask. */
export interface AskLimits {
  /** Open at once. */
  readonly pending: number;
  /** In all since then, whatever became of it. */
  readonly asked: number;
  readonly since: Instant;
}

export interface ApprovalStore {
  /**
   * Adds it where nothing with this `lookup` is alive; gives what is alive afterwards. Of more than are to be pending of
   * one agent the oldest are displaced. Undefined, and nothing is added, where the agent has asked too often.
   */
  ask(
    approval: NewApproval,
    most: AskLimits,
  ): Promise<
    { readonly approval: StoredApproval; readonly displaced: readonly StoredApproval[] } | undefined
  >;
  get(id: string): Promise<StoredApproval | undefined>;
  /** Newest first. */
  list(which: "pending" | "all", most: number): Promise<readonly StoredApproval[]>;
  /** False where it is no longer of this version. */
  change(id: string, version: number, to: ApprovalChange): Promise<boolean>;
  /** Takes one use of what is approved: of several at the same time no more get one than there are uses. */
  release(lookup: string): Promise<StoredApproval | undefined>;
  /** Ends what nobody answered or used in time, each once, and forgets what ended before `forgetBefore`. */
  expire(forgetBefore: Instant): Promise<readonly StoredApproval[]>;
  /** Whether all of these were noted. */
  areKnownUses(keys: readonly string[]): Promise<boolean>;
  noteUses(keys: readonly string[]): Promise<void>;
}
