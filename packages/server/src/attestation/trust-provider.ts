// SPDX-License-Identifier: Apache-2.0
/**
 * What is a trust provider? Whoever turns evidence that a workload presents into selectors, or says why not.
 *
 * A provider checks and maps; which agent the selectors make is asked afterwards, the same way for every kind.
 */
import type { Instant } from "../kernel/clock.ts";
import type { Result } from "../kernel/result.ts";

declare const evidenceBrand: unique symbol;

/** What somebody presents: bounded in size, and otherwise nothing is known of it. Made in `attest-evidence.ts` only. */
export interface UntrustedEvidence {
  readonly [evidenceBrand]: true;
  readonly bytes: Buffer;
}

export interface AttestContext {
  /** Name of the TrustProvider that the evidence was presented to. */
  readonly provider: string;
  readonly now: Instant;
  /** Ends what is under way when the time for one attestation is over. */
  readonly signal: AbortSignal;
}

/** A fact has one value or several; of those that are absent nothing is said. */
export type Facts = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface Attested {
  /** By name, without the kind before it. */
  readonly facts: Facts;
  /** From then on the evidence proves nothing. */
  readonly expiresAt: Instant;
  /** Names the evidence among all of its provider, where it may be used only once. */
  readonly singleUse?: string;
  /** How long a use is remembered, where evidence may come to prove something again after `expiresAt`. */
  readonly usedUntil?: Instant;
  /**
   * Images of all containers that could have presented the evidence, as `registry/repository@sha256:…`. Absent where there
   * may be others, too.
   */
  readonly images?: readonly string[] | undefined;
  /** Facts of other kinds that follow from these, by kind, such as `sigstore`. */
  readonly more?: Readonly<Record<string, Facts>>;
  /** For operators: why something of that was not proved. */
  readonly notes?: readonly string[];
  /** Somebody who could prove more could not be asked. */
  readonly isIncomplete?: boolean;
}

export interface AttestRefusal {
  /** `unavailable`: nobody can tell, because who vouches for the evidence cannot be asked. */
  readonly outcome: "refused" | "unavailable";
  /** One word for the log, such as `token_expired`. */
  readonly reason: string;
  /** For operators; holds nothing that could be presented again. */
  readonly detail?: string;
}

export interface TrustProvider {
  attest(evidence: UntrustedEvidence, context: AttestContext): Promise<Result<Attested, AttestRefusal>>;
}
