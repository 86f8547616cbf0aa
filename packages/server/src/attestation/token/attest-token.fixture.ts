// SPDX-License-Identifier: Apache-2.0
/** A trust provider in front of a stand-in of its issuer, for the hostile tables of each kind. */
import type { TrustProviderSpec } from "@postern/contract";
import { createTestAuthority, startTokenIssuer, type TokenIssuer } from "@postern/testkit";
import { attestBy } from "../attest-spec.fixture.ts";

export interface IssuerUnderTest {
  readonly issuer: TokenIssuer;
  /** With `more`, a new provider of settings that are changed so. */
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
  const usual = attestBy({ ...spec, ...reach }, used);
  return {
    issuer,
    attest: (evidence, more) =>
      more === undefined ? usual(evidence) : attestBy({ ...spec, ...reach, ...more }, used)(evidence),
  };
}
