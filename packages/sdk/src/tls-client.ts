// SPDX-License-Identifier: Apache-2.0
/** Connects to a service by its SPIFFE ID, and shows it ours: for `tls`, for `https` and in the manner of `fetch`. */
import { Agent, request as httpsRequest, type AgentOptions } from "node:https";
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import type { Authorize } from "./authorize.ts";
import { type Peer, verifyPeer } from "./peer.ts";
import { TrustedConnections } from "./trusted-connections.ts";
import { secureContextOf } from "./tls-context.ts";
import type { X509Source } from "./x509-source.ts";

export interface ClientRules {
  readonly source: X509Source;
  /** Who may answer. The name in the URL proves nothing here. */
  readonly authorize: Authorize;
}

export interface ConnectTlsOptions extends ClientRules {
  readonly host: string;
  readonly port: number;
  /** Protocols to offer (ALPN). */
  readonly protocols?: readonly string[];
  readonly signal?: AbortSignal;
}

/** Resolves with a connection whose peer is proved and admitted; nothing was sent to it before. */
export function connectTls(options: ConnectTlsOptions): Promise<TLSSocket> {
  const { host, port, protocols, signal, ...rules } = options;
  const more = protocols === undefined ? {} : { ALPNProtocols: [...protocols] };
  return connectVerified({ host, port, ...more }, rules, signal).then(({ socket }) => socket);
}

/** Who takes the connection and then says nothing would be waited for without end. */
const HANDSHAKE_TIME = 30_000;

interface Connected {
  readonly socket: TLSSocket;
  readonly peer: Peer;
}

async function connectVerified(
  to: ConnectionOptions,
  { source, authorize }: ClientRules,
  signal?: AbortSignal,
) {
  const { svid } = source;
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Connected>();
  const socket = connect({
    ...to,
    secureContext: secureContextOf(svid),
    // Asked of `verifyPeer` below, before anything is written.
    rejectUnauthorized: false,
    ...(to.host === undefined || isIP(to.host) !== 0 ? {} : { servername: to.host }),
  });
  const abort = (): void => void socket.destroy(signal?.reason as Error);
  signal?.addEventListener("abort", abort, { once: true });
  const late = setTimeout(() => {
    socket.destroy(new Error(`no handshake in ${HANDSHAKE_TIME} ms`));
  }, HANDSHAKE_TIME);
  socket.on("error", reject);
  socket.once("close", () => reject(new Error("the connection ended before its peer was proved")));
  socket.once("secureConnect", () => {
    try {
      const peer = verifyPeer(socket, { bundleOf: (name) => source.bundleOf(name), authorize });
      resolve({ socket, peer });
    } catch (error) {
      socket.destroy();
      reject(error);
    }
  });
  try {
    return await promise;
  } finally {
    clearTimeout(late);
    signal?.removeEventListener("abort", abort);
  }
}

/** For `https.request` and whatever takes an agent of Node. */
export class SpiffeAgent extends Agent {
  readonly #rules: ClientRules;
  readonly #connections: TrustedConnections;

  constructor(rules: ClientRules, options: AgentOptions = {}) {
    // A kept TLS state would lead past the check of the peer.
    super({ ...options, maxCachedSessions: 0 });
    this.#rules = rules;
    this.#connections = new TrustedConnections(rules);
  }

  override createConnection(
    options: ConnectionOptions,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    const { host, port } = options;
    connectVerified({ host: host ?? "localhost", port: Number(port) }, this.#rules).then(
      ({ socket, peer }) => {
        this.#connections.add(socket, peer);
        callback?.(null, socket);
      },
      (error: Error) => callback?.(error, undefined as unknown as Duplex),
    );
    return undefined;
  }

  override destroy(): void {
    this.#connections.stop();
    super.destroy();
  }
}

/** `fetch` for services with a SPIFFE ID. Redirects are given back, not followed; nothing is decompressed. */
export function spiffeFetch(rules: ClientRules): typeof fetch {
  const agent = new SpiffeAgent(rules);
  return async (input, init) => {
    const request = new Request(input, { ...init, redirect: "manual" });
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const outgoing = httpsRequest(
      request.url,
      { agent, method: request.method, headers: Object.fromEntries(request.headers), signal: request.signal },
      resolve,
    );
    outgoing.on("error", reject);
    if (request.body === null) outgoing.end();
    else pipeline(Readable.fromWeb(request.body as never), outgoing).catch(reject);
    const message = await promise;
    try {
      return responseOf(message);
    } catch (error) {
      // Such as a status that there is not: the rest of it is read by nobody.
      message.destroy();
      throw error;
    }
  };
}

/** Fetch standard: these have no body, whatever was sent. */
const WITHOUT_BODY: ReadonlySet<number | undefined> = new Set([101, 204, 205, 304]);

function responseOf(message: IncomingMessage): Response {
  const headers = new Headers();
  for (const [name, values] of Object.entries(message.headersDistinct))
    for (const value of values ?? []) headers.append(name, value);
  const { statusCode, statusMessage } = message;
  if (WITHOUT_BODY.has(statusCode)) message.resume();
  const body = WITHOUT_BODY.has(statusCode) ? null : (Readable.toWeb(message) as ReadableStream);
  return new Response(body, { status: statusCode ?? 502, statusText: statusMessage ?? "", headers });
}
