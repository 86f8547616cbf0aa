// SPDX-License-Identifier: Apache-2.0
/** Which evidence has been used? For evidence that counts once; shared by all servers of one database. */
import type { Instant } from "../kernel/clock.ts";

export interface EvidenceStore {
  /** False where it is remembered from before; of several at the same time one is told true. Kept for an hour after `expiresAt`. */
  useOnce(digest: string, expiresAt: Instant): Promise<boolean>;
}
