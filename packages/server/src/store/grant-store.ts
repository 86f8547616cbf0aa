// SPDX-License-Identifier: Apache-2.0
/** What may an agent do without being asked about each time, how often and how long still? */
import type { Instant } from "../kernel/clock.ts";

export interface NewGrant {
  readonly id: string;
  readonly agent: string;
  /** What it is for and who gave it, as JSON. */
  readonly body: string;
  readonly uses: number;
  readonly expiresAt: Instant;
}

export interface StoredGrant extends Omit<NewGrant, "uses"> {
  readonly state: "active" | "used" | "expired" | "revoked";
  readonly usesLeft: number;
  readonly createdAt: Instant;
}

export interface GrantStore {
  /** False where the agent has `most` active ones. */
  add(grant: NewGrant, most: number): Promise<boolean>;
  get(id: string): Promise<StoredGrant | undefined>;
  /** Newest first. */
  list(which: "active" | "all", most: number): Promise<readonly StoredGrant[]>;
  /** Those of an agent that can be used now, the one that ends first in front. */
  usable(agent: string): Promise<readonly StoredGrant[]>;
  /** Takes one use: of several at the same time no more get one than there are. */
  take(id: string): Promise<StoredGrant | undefined>;
  /** False where it was over already. */
  revoke(id: string): Promise<boolean>;
  /** Ends what is past its time, each once, and forgets what ended before `forgetBefore`. */
  expire(forgetBefore: Instant): Promise<readonly StoredGrant[]>;
}
