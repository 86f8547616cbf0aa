// SPDX-License-Identifier: Apache-2.0
/**
 * The address at which remote agents come in: TLS only, and with an identity or not at all.
 *
 * No handshake is ever resumed: what was believed of a certificate then need not be true now.
 */
import { constants } from "node:crypto";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { Gateway, OwnEndpoints } from "../../gateway/gateway.ts";
import { faultFields, type Log } from "../../kernel/log.ts";
import type { OwnCertificate } from "../../gateway/ports.ts";
import { chainOf } from "../../gateway/upstream-identity.ts";
import { RemoteCaller, type SvidJudge } from "./remote-caller.ts";

export interface ListenerParts {
  readonly gateway: Gateway;
  readonly log: Log;
  /** Host names and addresses by which agents may call the gateway, with a port or without. */
  readonly names: readonly string[];
  judge(): SvidJudge;
  readonly own: (origin: string) => OwnEndpoints;
}

const HANDSHAKE_TIMEOUT = 10_000;
const MOST_CONNECTIONS = 4096;
/** An SVID that ends is noticed so soon, where nothing else happens. */
const SWEEP_EVERY = 250;

export class GatewayListener {
  readonly #parts: ListenerParts;
  readonly #server: Server;
  readonly #open = new Map<TLSSocket, RemoteCaller>();
  readonly #clockwork: NodeJS.Timeout;

  private constructor(parts: ListenerParts, certificate: OwnCertificate) {
    this.#parts = parts;
    this.#server = createServer(
      {
        ...contextOf(certificate),
        // Asked for, and judged by our own verifier: what OpenSSL thinks of a chain says nothing about SPIFFE IDs.
        requestCert: true,
        rejectUnauthorized: false,
        ALPNProtocols: ["http/1.1"],
        handshakeTimeout: HANDSHAKE_TIMEOUT,
        pauseOnConnect: false,
        allowHalfOpen: true,
        noDelay: true,
      },
      (socket) => this.#accept(socket),
    );
    this.#server.maxConnections = MOST_CONNECTIONS;
    // A handshake that fails is nobody's request.
    this.#server.on("tlsClientError", (_error, socket) => socket.destroy());
    this.#clockwork = setInterval(() => this.recheck(), SWEEP_EVERY).unref();
  }

  static open(
    where: { readonly host: string; readonly port: number },
    parts: ListenerParts,
    certificate: OwnCertificate,
  ): Promise<GatewayListener> {
    const listener = new GatewayListener(parts, certificate);
    const server = listener.#server;
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(where, () => {
        server.off("error", reject);
        server.on("error", (error) => parts.log.write("warn", "listener failed", faultFields(error)));
        resolve(listener);
      });
    });
  }

  /** Where it listens in fact: a port of 0 means any. */
  get address(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") return "";
    return `${address.family === "IPv6" ? `[${address.address}]` : address.address}:${address.port}`;
  }

  get connections(): number {
    return this.#open.size;
  }

  /** For handshakes from now on. */
  setCertificate(certificate: OwnCertificate): void {
    this.#server.setSecureContext(contextOf(certificate));
  }

  /** Ends what is open of everybody whose identity does not hold any longer. */
  recheck(): void {
    for (const [socket, caller] of this.#open) if (caller.recheck()) socket.destroy();
  }

  close(): void {
    clearInterval(this.#clockwork);
    this.#server.close();
    for (const socket of this.#open.keys()) socket.destroy();
  }

  #accept(socket: TLSSocket): void {
    const { remoteAddress, localAddress, localPort } = socket;
    // Never so with these settings; with one that was resumed, nobody would have proved anything.
    if (remoteAddress === undefined || socket.isSessionReused()) return void socket.destroy();
    const { gateway, names, judge, own } = this.#parts;
    // A listener for both kinds of addresses writes those of IPv4 in the form of IPv6.
    const origin = remoteAddress.replace(/^::ffff:(?=\d+\.)/i, "");
    const caller = new RemoteCaller(origin, chainOf(socket), judge, undefined);
    this.#open.set(socket, caller);
    socket.once("close", () => this.#open.delete(socket));
    const host = localAddress?.includes(":") === true ? `[${localAddress}]` : localAddress;
    const authorities = [...names, `${host}:${localPort}`].flatMap((name) =>
      /:\d+$/.test(name) ? [name] : [name, `${name}:${localPort}`],
    );
    gateway.accept(socket, caller, authorities, own(origin));
  }
}

const contextOf = ({ certificate, privateKey }: OwnCertificate) => ({
  cert: certificate,
  key: privateKey,
  minVersion: "TLSv1.2" as const,
  secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
});
