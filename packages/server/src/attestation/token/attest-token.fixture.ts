// SPDX-License-Identifier: Apache-2.0
/** A trust provider in front of a stand-in of its issuer, for the hostile tables of each kind. */
import type { TrustProviderSpec } from "@postern/contract";
import { createTestAuthority, startTokenIssuer, type TokenIssuer } from "@postern/testkit";
import { systemClock } from "../../kernel/clock.ts";
import { attestEvidence } from "../attest-evidence.ts";
import { makeTrustProvider } from "../make-trust-provider.ts";

export interface IssuerUnderTest {
  readonly issuer: TokenIssuer;
  /** The selectors that the evidence proves, sorted, or the reason why none. */
  attest(evidence: string | Buffer, more?: object): Promise<string[] | string>;
}

const authority = await createTestAuthority();

/** `spec` without the fields that lead to the stand-in. */
export async function issuerUnderTest(
  spec: TrustProviderSpec,
  issuerName: string,
  names: readonly string[] = [],
): Promise<IssuerUnderTest> {
  const issuer = await startTokenIssuer({ authority, issuer: issuerName, names });
  const reach = {
    allowedNetworks: ["127.0.0.1/32"],
    caCertificates: authority.certificate,
    connectTo: { address: "127.0.0.1", port: issuer.port },
  };
  const used = new Set<string>();
  const provider = (more: object) => makeTrustProvider({ ...spec, ...reach, ...more }, systemClock)!;
  const usual = provider({});
  return {
    issuer,
    async attest(evidence, more) {
      const attested = await attestEvidence(
        more === undefined ? usual : provider(more),
        Buffer.from(evidence),
        {
          ...{ kind: spec.kind, provider: "p", clock: systemClock },
          useOnce: async (digest) => !used.has(digest) && used.add(digest).has(digest),
        },
      );
      return attested.ok ? [...attested.value.selectors].toSorted() : attested.reason.reason;
    },
  };
}
