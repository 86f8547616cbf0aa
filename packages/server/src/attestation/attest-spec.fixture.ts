// SPDX-License-Identifier: Apache-2.0
/** What a trust provider makes of evidence, as hostile tables compare it. */
import type { TrustProviderSpec } from "@postern/contract";
import { systemClock } from "../kernel/clock.ts";
import { attestEvidence } from "./attest-evidence.ts";
import { makeTrustProvider } from "./make-trust-provider.ts";

/** The selectors that evidence proves, sorted, or the reason why none. */
export type Attest = (evidence: string | Buffer) => Promise<string[] | string>;

export function attestBy(spec: TrustProviderSpec, used = new Set<string>()): Attest {
  const provider = makeTrustProvider(spec, {
    clock: systemClock,
    joinTokens: { redeem: async () => undefined },
  })!;
  return async (evidence) => {
    const attested = await attestEvidence(provider, Buffer.from(evidence), {
      ...{ kind: spec.kind, provider: "p", clock: systemClock },
      useOnce: async (digest) => !used.has(digest) && used.add(digest).has(digest),
    });
    return attested.ok ? [...attested.value.selectors].toSorted() : attested.reason.reason;
  };
}
