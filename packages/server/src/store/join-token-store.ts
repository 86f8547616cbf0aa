// SPDX-License-Identifier: Apache-2.0
/** Which join tokens can still be used? By digest; a token itself is stored nowhere. */
import type { Instant } from "../kernel/clock.ts";

export interface JoinToken {
  /** SHA-256 of the token, in hex. */
  readonly digest: string;
  readonly provider: string;
  readonly name: string;
  readonly expiresAt: Instant;
}

export interface JoinTokenStore {
  add(token: JoinToken): Promise<void>;
  /** Takes the token away and gives it: of several at the same time one gets it. */
  redeem(provider: string, digest: string): Promise<JoinToken | undefined>;
}
