// SPDX-License-Identifier: Apache-2.0
/** What does an agent get whose evidence was believed? Its SVIDs, each of them in the log before it leaves. */
import type { IssuedIdentity, WantedIdentity } from "@postern/contract";
import type { SvidInput } from "../audit/identity-events.ts";
import { readCertificateRequest } from "@postern/identity/certificate-request";
import { certificatePem } from "@postern/identity/certificate";
import { gatewayId, type SpiffeId } from "@postern/identity/spiffe-id";
import { printTrustBundle } from "@postern/identity/trust-bundle";
import type { Issuer } from "../issuer/issuer.ts";
import { chainPem, type X509Svid } from "../issuer/signer.ts";
import { Fault } from "../kernel/fault.ts";
import type { Secret } from "../kernel/secret.ts";
import type { Entitled } from "./attest-desk.ts";

/** Resolves when it is durable. */
export type RecordSvid = (input: Omit<SvidInput, "id" | "time">) => Promise<void>;

export async function issueIdentity(
  issuer: Issuer,
  { agent, attestationId, id }: Entitled,
  want: WantedIdentity,
  record: RecordSvid,
): Promise<Omit<IssuedIdentity, "interception">> {
  const issued = { change: "issue" as const, agent, spiffeId: id.uri, attestationId };
  const x509 = want.x509 === undefined ? undefined : issueX509(issuer, id, want.x509.request);
  if (x509 !== undefined) {
    const { authority, serial, expiresAt } = x509.svid;
    await record({ ...issued, document: "X.509-SVID", authority, serial, expiresAt });
  }
  const jwt = want.jwt === undefined ? undefined : issueJwt(issuer, id, want.jwt.audience);
  if (jwt !== undefined) {
    const { audience, authority, expiresAt } = jwt;
    await record({ ...issued, document: "JWT-SVID", audience, authority, expiresAt });
  }
  return {
    spiffeId: id.uri,
    ...(x509 === undefined ? {} : { x509: x509.shown }),
    ...(jwt === undefined
      ? {}
      : { jwt: { token: jwt.token, audience: jwt.audience, expiresAt: dated(jwt.expiresAt) } }),
    authorities: issuer.bundle.x509Authorities.map(({ der }) => certificatePem(der)).join(""),
    trustBundle: printTrustBundle(issuer.bundle, "everything"),
  };
}

const dated = (time: number): string => new Date(time).toISOString();

function issueX509(issuer: Issuer, id: SpiffeId, request: string | undefined) {
  if (request === undefined) {
    const svid = issuer.issueX509(id);
    return { svid, shown: { ...shownCertificate(svid), privateKey: privateKeyPem(svid.privateKey) } };
  }
  const key = readCertificateRequest(Buffer.from(request, "base64"));
  if (!key.ok) throw new Fault("request_malformed", key.reason);
  const svid = issuer.issueX509ForKey(id, key.value);
  return { svid, shown: shownCertificate(svid) };
}

const shownCertificate = (svid: Pick<X509Svid, "certificate" | "chain" | "expiresAt">) => ({
  certificate: chainPem(svid),
  expiresAt: dated(svid.expiresAt),
});

function issueJwt(issuer: Issuer, id: SpiffeId, wanted: readonly string[]) {
  const audience = wanted.length === 0 ? [gatewayId(issuer.trustDomain).uri] : wanted;
  return { ...issuer.issueJwt(id, audience), audience };
}

/** PKCS #8 in PEM (RFC 7468 §10), for the one whose key it is; the secret is wiped. */
export function privateKeyPem(privateKey: Secret): string {
  const lines =
    privateKey
      .expose("issue")
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  privateKey.wipe();
  return `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`;
}
