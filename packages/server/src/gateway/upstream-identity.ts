// SPDX-License-Identifier: Apache-2.0
/** What do gateway and API prove to each other in the handshake, and is it still true of an idle connection? */
import type { TLSSocket } from "node:tls";
import type { OwnCertificate, UpstreamIdentity } from "./ports.ts";

export interface IdentityWanted {
  readonly host: string;
  readonly clientIdentity?: "svid" | undefined;
  readonly serverSpiffeId?: string | undefined;
}

/** One handshake's part of it. */
export interface HandshakeIdentity {
  readonly options: {
    readonly cert?: string;
    readonly key?: string;
    readonly rejectUnauthorized: boolean;
    readonly checkServerIdentity?: () => undefined;
  };
  /** Why the API is not who it should be, in a sentence for the agent's developer; asked again before each reuse. */
  problemOf(socket: TLSSocket): string | undefined;
  /** Whether the certificate that was shown is still the gateway's newest. */
  isCurrent(): boolean;
}

const MOST_CERTIFICATES = 8;

/** At once where nothing but the Web's certificates is wanted. */
export function handshakeIdentity(
  wanted: IdentityWanted,
  identity: UpstreamIdentity | undefined,
): HandshakeIdentity | Promise<HandshakeIdentity> {
  const { clientIdentity, serverSpiffeId } = wanted;
  if (clientIdentity === undefined && serverSpiffeId === undefined) return ofTheWeb(wanted.host);
  return withSvids(wanted, identity);
}

async function withSvids(
  { clientIdentity, host, serverSpiffeId }: IdentityWanted,
  identity: UpstreamIdentity | undefined,
): Promise<HandshakeIdentity> {
  if (identity === undefined) throw new Error("this server has no identity of its own");
  const shown: OwnCertificate | undefined = clientIdentity === undefined ? undefined : await identity.own();
  const own = shown === undefined ? {} : { cert: shown.certificate, key: shown.privateKey };
  const isCurrent = (): boolean => shown === undefined || identity.current === shown;
  const web = ofTheWeb(host);
  if (serverSpiffeId === undefined) return { ...web, options: { ...own, ...web.options }, isCurrent };
  return {
    // Judged by our own verifier, before a byte is sent: OpenSSL knows names of hosts, and no SPIFFE IDs.
    options: { ...own, rejectUnauthorized: false, checkServerIdentity: () => undefined },
    problemOf: (socket) => {
      const problem = identity.problemOf(chainOf(socket), serverSpiffeId);
      return problem === undefined ? undefined : `${host} did not prove to be ${serverSpiffeId} (${problem})`;
    },
    isCurrent,
  };
}

/** The certificate of a host, by the authorities that are trusted for it. */
export const ofTheWeb = (host: string): HandshakeIdentity => ({
  options: { rejectUnauthorized: true },
  problemOf: ({ authorized }) => (authorized ? undefined : `${host} failed TLS verification`),
  isCurrent: () => true,
});

/** What the other side has sent, leaf first. TLS has verified that it holds the leaf's key, and nothing else. */
export function chainOf(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate !== undefined && chain.length < MOST_CERTIFICATES) {
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}
