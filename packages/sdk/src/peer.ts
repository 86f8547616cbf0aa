// SPDX-License-Identifier: Apache-2.0
/**
 * Who is at the other end of this TLS connection? (X509-SVID §5)
 *
 * OpenSSL proves that the peer has the key of its certificate. Whether the certificate is believed is asked here and
 * nowhere else: a list of authorities in Node's `ca` would take them all for every trust domain.
 */
import type { TLSSocket } from "node:tls";
import type { SpiffeId } from "@postern/identity/spiffe-id";
import type { TrustBundle } from "@postern/identity/trust-bundle";
import { verifyX509Svid } from "@postern/identity/verify-x509-svid";
import type { Authorize } from "./authorize.ts";
import { SpiffeError } from "./spiffe-error.ts";

export interface Peer {
  readonly id: SpiffeId;
  /** DER, the leaf first. */
  readonly certificates: readonly Buffer[];
}

export interface PeerRules {
  bundleOf(trustDomain: string): TrustBundle | undefined;
  readonly authorize: Authorize;
}

const VERIFIED = Symbol("SPIFFE peer");

/** Throws where the peer is not believed or not admitted. */
export function verifyPeer(socket: TLSSocket, rules: PeerRules): Peer {
  // What was verified for an earlier connection may have been taken back since.
  if (socket.isSessionReused()) throw untrusted("resumed");
  const certificates = presentedChain(socket);
  if (certificates.length === 0) throw untrusted("no_certificate");
  const peer = verifyChain(certificates, rules, Date.now());
  Object.defineProperty(socket, VERIFIED, { value: peer });
  return peer;
}

export function verifyChain(
  certificates: readonly Buffer[],
  { bundleOf, authorize }: PeerRules,
  now: number,
): Peer {
  const verified = verifyX509Svid(certificates, bundleOf, now);
  if (!verified.ok) throw untrusted(verified.reason);
  const { id } = verified.value;
  if (!authorize(id)) throw new SpiffeError("peer_unauthorized", `${id.uri} is not admitted here`);
  return { id, certificates };
}

const untrusted = (reason: NonNullable<SpiffeError["reason"]>): SpiffeError =>
  new SpiffeError("peer_untrusted", `the peer did not prove a SPIFFE ID: ${reason}`, { reason });

/** The ID that the peer of this connection has proved; `request.socket` of an HTTP server will do. */
export function peerIdOf(socket: object): SpiffeId {
  const peer = (socket as { [VERIFIED]?: Peer })[VERIFIED];
  if (peer !== undefined) return peer.id;
  throw new SpiffeError("peer_untrusted", "this connection was not made by this library", {
    reason: "no_certificate",
  });
}

/** Longer chains are refused anyway; a list that leads back to itself ends here. */
const MOST_CERTIFICATES = 16;

/** As Node orders it: each certificate is followed by the one that issued it. */
function presentedChain(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  let certificate = socket.getPeerCertificate(true) as
    { raw?: Buffer; issuerCertificate?: object } | undefined;
  while (certificate?.raw !== undefined && chain.length < MOST_CERTIFICATES) {
    chain.push(certificate.raw);
    const issuer = certificate.issuerCertificate as typeof certificate;
    if (issuer === certificate) break;
    certificate = issuer;
  }
  return chain;
}
