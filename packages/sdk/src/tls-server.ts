// SPDX-License-Identifier: Apache-2.0
/**
 * Lets in who proves a SPIFFE ID: for servers of `tls`, `https` and `http2`.
 *
 * The certificate follows the source without a restart, and who is no longer believed is thrown out.
 */
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https";
import type { RequestListener } from "node:http";
import {
  createServer as createTls,
  type Server as TlsServer,
  type TLSSocket,
  type TlsOptions,
} from "node:tls";
import type { SpiffeId } from "@postern/identity/spiffe-id";
import type { Authorize } from "./authorize.ts";
import { peerIdOf, verifyPeer } from "./peer.ts";
import type { SpiffeError } from "./spiffe-error.ts";
import { secureOptions } from "./tls-context.ts";
import { TrustedConnections } from "./trusted-connections.ts";
import type { X509Source } from "./x509-source.ts";

export interface ServerRules {
  readonly source: X509Source;
  readonly authorize: Authorize;
  /** Hears of everybody who was turned away. For logs. */
  readonly onRefused?: (problem: SpiffeError) => void;
}

/** What `createServer` and `createSecureServer` need; then `admitOnly` is called with the server. */
export const serverOptions = ({ source }: ServerRules): TlsOptions => ({
  ...secureOptions(source.svids[0]),
  requestCert: true,
  // Asked of `verifyPeer`, before anybody else hears of the connection.
  rejectUnauthorized: false,
});

/** Gives connections of proved and admitted peers to whoever listens, and no others. Called right after the server is made. */
export function admitOnly<S extends TlsServer>(server: S, rules: ServerRules): S {
  const { source, onRefused } = rules;
  const connections = new TrustedConnections(rules, onRefused);
  const listeners = server.listeners("secureConnection") as ((socket: TLSSocket) => void)[];
  server.removeAllListeners("secureConnection");
  server.on("secureConnection", (socket: TLSSocket) => {
    try {
      connections.add(socket, verifyPeer(socket, connections.rules));
    } catch (error) {
      socket.destroy();
      onRefused?.(error as SpiffeError);
      return;
    }
    for (const listener of listeners) listener.call(server, socket);
  });
  const stopListening = source.onChange(() => server.setSecureContext(secureOptions(source.svids[0])));
  server.once("close", () => {
    stopListening();
    connections.stop();
  });
  return server;
}

/** Like `https.createServer`; `peerIdOf(request.socket)` says who asks. */
export const createSpiffeServer = (rules: ServerRules, onRequest: RequestListener): HttpsServer =>
  admitOnly(createHttpsServer(serverOptions(rules), onRequest), rules);

/** Like `tls.createServer`. */
export const createSpiffeTlsServer = (
  rules: ServerRules,
  onConnection: (socket: TLSSocket, peer: SpiffeId) => void,
): TlsServer =>
  admitOnly(
    createTls(serverOptions(rules), (socket) => onConnection(socket, peerIdOf(socket))),
    rules,
  );
