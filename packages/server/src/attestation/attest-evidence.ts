// SPDX-License-Identifier: Apache-2.0
/**
 * What does presented evidence prove? The one way from untrusted bytes to selectors, the same for every provider.
 *
 * Size is bounded before anything is parsed, and time for the whole; whatever fails, nobody is let in.
 */
import { createHash } from "node:crypto";
import type { Clock, Instant } from "../kernel/clock.ts";
import { type Result, ok, refuse } from "../kernel/result.ts";
import type { Attested, AttestRefusal, Facts, TrustProvider, UntrustedEvidence } from "./trust-provider.ts";

export interface AttestedEvidence {
  readonly selectors: ReadonlySet<string>;
  /** `kind.name` → value, of facts that have one value. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly expiresAt: Instant;
  /** For operators: why something was not proved that could have been. */
  readonly notes: readonly string[];
  /** More would perhaps be proved if somebody could be asked. */
  readonly isIncomplete: boolean;
}

export interface EvidenceParts {
  /** Kind of the provider; stands before every fact. */
  readonly kind: string;
  /** Name of the TrustProvider. */
  readonly provider: string;
  readonly clock: Clock;
  /** False where it was used before; rejects where that cannot be known. */
  useOnce(digest: string, expiresAt: Instant): Promise<boolean>;
}

export const MOST_EVIDENCE_BYTES = 65_536;
const LONGEST_MS = 10_000;

export async function attestEvidence(
  trustProvider: TrustProvider,
  bytes: Buffer,
  { clock, kind, provider, useOnce }: EvidenceParts,
): Promise<Result<AttestedEvidence, AttestRefusal>> {
  if (bytes.length === 0) return refuse({ outcome: "refused", reason: "evidence_empty" });
  if (bytes.length > MOST_EVIDENCE_BYTES) return refuse({ outcome: "refused", reason: "evidence_too_large" });
  const evidence = { bytes } as UntrustedEvidence;
  const attested = await inTime(async (signal) =>
    trustProvider.attest(evidence, { provider, now: clock.now(), signal }),
  );
  if (!attested.ok) return attested;
  const { expiresAt, facts, isIncomplete = false, more = {}, notes = [], singleUse } = attested.value;
  const { usedUntil = expiresAt } = attested.value;
  if (expiresAt <= clock.now()) return refuse({ outcome: "refused", reason: "evidence_expired" });
  if (singleUse !== undefined) {
    const digest = createHash("sha256")
      .update(JSON.stringify([provider, singleUse]))
      .digest("hex");
    const isFirst = await useOnce(digest, usedUntil).catch(() => undefined);
    if (isFirst === undefined) return refuse({ outcome: "unavailable", reason: "used_evidence_unknown" });
    if (!isFirst) return refuse({ outcome: "refused", reason: "evidence_used_before" });
  }
  const all = Object.entries({ ...more, [kind]: facts });
  return ok({
    ...{ expiresAt, isIncomplete, notes },
    selectors: new Set(all.flatMap(([each, of]) => [...factSelectors(each, of)])),
    attributes: Object.fromEntries(all.flatMap(([each, of]) => attributesOf(each, of))),
  });
}

/** A provider that throws, or does not answer in time, has not vouched for anything. */
async function inTime(
  work: (signal: AbortSignal) => Promise<Result<Attested, AttestRefusal>>,
): Promise<Result<Attested, AttestRefusal>> {
  const over = new AbortController();
  const late = Promise.withResolvers<Result<Attested, AttestRefusal>>();
  const timer = setTimeout(() => {
    late.resolve(refuse({ outcome: "unavailable", reason: "attestation_timeout" }));
    over.abort();
  }, LONGEST_MS);
  try {
    return await Promise.race([work(over.signal), late.promise]);
  } catch {
    return refuse({ outcome: "unavailable", reason: "provider_failed" });
  } finally {
    clearTimeout(timer);
  }
}

export function factSelectors(kind: string, facts: Facts): Set<string> {
  return new Set(
    Object.entries(facts).flatMap(([name, value]) =>
      (value === undefined ? [] : [value].flat()).map((one) => `${kind}:${name}=${one}`),
    ),
  );
}

function attributesOf(kind: string, facts: Facts): [string, string][] {
  return Object.entries(facts).flatMap(([name, value]): [string, string][] =>
    typeof value === "string" ? [[`${kind}.${name}`, value]] : [],
  );
}
