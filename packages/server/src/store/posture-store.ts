// SPDX-License-Identifier: Apache-2.0
/** What was reported of workloads and machines, the last report of each source. */
import type { Instant } from "../kernel/clock.ts";

export interface StoredPosture {
  /** A selector, or `machine`. */
  readonly subject: string;
  readonly source: string;
  readonly facts: Readonly<Record<string, boolean | number | string>>;
  readonly observedAt: Instant;
  readonly expiresAt: Instant;
}

export interface PostureStore {
  /**
   * Takes the place of what the source said of the subject before; without facts nothing is left. `older` where what
   * is kept was seen later, `full` where `most` subjects and sources are kept already.
   */
  put(report: StoredPosture, most: number): Promise<"kept" | "older" | "full">;
  /** All that have not expired, by subject and source. */
  list(): Promise<StoredPosture[]>;
}
