// SPDX-License-Identifier: Apache-2.0
/** An upstream that speaks TLS properly and HTTP as badly as a test asks for, byte by byte. */
import { type AddressInfo, createServer, type Socket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";
import type { IssuedCertificate } from "@postern/testkit";

/** What is done with one request, whose head is `head`. `raw` is the connection below TLS. */
export type Manner = (socket: TLSSocket, head: string, raw: Socket) => void;

export interface RudeUpstream {
  readonly port: number;
  /** Request lines in the order in which they came, over all connections. */
  readonly requests: readonly string[];
  /** Connections that are open now. */
  readonly open: number;
  close(): Promise<void>;
}

/** The path of a request names its manner: `/manner/anything`. */
export async function startRudeUpstream(
  certificate: IssuedCertificate,
  manners: Readonly<Record<string, Manner>>,
): Promise<RudeUpstream> {
  const requests: string[] = [];
  const sockets = new Set<TLSSocket>();
  const secureContext = createSecureContext({ cert: certificate.certificate, key: certificate.privateKey });
  const server = createServer((raw) => {
    const socket = new TLSSocket(raw, { isServer: true, secureContext, ALPNProtocols: ["http/1.1"] });
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    for (const each of [socket, raw]) each.on("error", () => {});
    let waiting = "";
    socket.on("data", (bytes: Buffer) => {
      waiting += bytes.toString("latin1");
      const end = waiting.indexOf("\r\n\r\n");
      // Bodies are not read: a manner that wants one has taken the socket over.
      if (end === -1 || socket.listenerCount("data") > 1) return;
      const head = waiting.slice(0, end);
      waiting = "";
      requests.push(head.split("\r\n")[0]!);
      const manner = /^\S+ \/([^/ ]+)/.exec(head)?.[1] ?? "";
      (manners[manner] ?? (() => socket.destroy()))(socket, head, raw);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    get open() {
      return sockets.size;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
