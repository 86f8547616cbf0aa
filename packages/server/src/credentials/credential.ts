// SPDX-License-Identifier: Apache-2.0
/** What every credential provider gives: a time-limited means of access, or the reason why there is none. */
import type { Instant } from "../kernel/clock.ts";
import type { Result } from "../kernel/result.ts";
import type { Secret } from "../kernel/secret.ts";

export interface Credential {
  readonly secret: Secret;
  readonly version: number;
  /** Absent where the provider knows no end. */
  readonly expiresAt?: Instant;
  /** Kind of the provider it came from. */
  readonly provider: string;
}

export interface CredentialRefusal {
  readonly code: "credential_unavailable";
  /** One sentence for the operator; holds no secret. */
  readonly detail: string;
}

/** One way to get credentials; a folder here per kind. */
export interface CredentialProviderKind {
  readonly kind: string;
  resolve(secretName: string): Promise<Result<Credential, CredentialRefusal>>;
}
