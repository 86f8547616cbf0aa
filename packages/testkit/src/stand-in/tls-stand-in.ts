// SPDX-License-Identifier: Apache-2.0
/**
 * What do all stand-ins have in common? Real TLS on loopback, a record of everything received, a record
 * of every stream and how it ended, and a switch for bad manners (`misbehaviour.ts`).
 */
import { createServer, type Server } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import { findCredentials, type CarriedCredential } from "./credential-carriers.ts";
import { misbehave, wantedMisbehaviour, type Misbehaviour } from "./misbehaviour.ts";
import type { TestAuthority } from "../test-authority.ts";
import { plainAnswerTo, type SocketRecord, SocketTaker } from "./websocket.ts";

/** One request as it arrived. */
export interface ReceivedRequest {
  readonly method: string;
  /** The request target, byte for byte. */
  readonly target: string;
  readonly headers: IncomingMessage["headers"];
  /** Name and value in turn, in order, as sent. */
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  readonly json: unknown;
  readonly credentials: readonly CarriedCredential[];
  readonly remote: { readonly address: string; readonly port: number };
  /** Server name of the TLS handshake. */
  readonly serverName: string | undefined;
  readonly at: number;
}

/** One answer that was streamed. `abortedAt` is set where the other side went away before the end. */
export interface StreamRecord {
  readonly target: string;
  readonly startedAt: number;
  events: number;
  abortedAt?: number;
  finishedAt?: number;
}

export interface StandIn {
  readonly name: string;
  readonly port: number;
  readonly hosts: readonly string[];
  readonly requests: readonly ReceivedRequest[];
  readonly streams: readonly StreamRecord[];
  readonly openStreams: number;
  /** WebSockets, where the provider has them. */
  readonly sockets: readonly SocketRecord[];
  /** The key that is accepted from now on. */
  setKey(key: string): void;
  /** Every request that follows is treated so, until `undefined`. Model names do the same for one request. */
  setMisbehaviour(misbehaviour: Misbehaviour | undefined): void;
  forgetRequests(): void;
  close(): Promise<void>;
}

/** What a handler may use while it answers one request. */
export interface Exchange {
  readonly request: ReceivedRequest;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly key: string;
  /** Registers the answer as a stream. Call once, before its first event. */
  trackStream(): StreamRecord;
}

/** The provider's own part of a stand-in. */
export interface Provider {
  readonly name: string;
  readonly hosts: readonly string[];
  answer(exchange: Exchange): Promise<void> | void;
  /** Answers with this provider's real error body; the key was already checked. */
  fail(exchange: Exchange, status: 429 | 500 | 529): void;
  /** Answers a wrong, missing or doubled credential; false where the credential is right. */
  refuseCredential(exchange: Exchange): boolean;
  /** Talks over a WebSocket; where it is absent, or says no, the request is answered like any other. */
  readonly converse?: (exchange: Exchange) => ((peer: WebSocket) => void) | undefined;
  /** Bytes of an event of an endless stream. */
  endlessEvent(index: number): string;
}

export interface StandInOptions {
  readonly authority: TestAuthority;
  readonly key: string;
  /** Where `stand-in-redirect` points. */
  readonly redirectTo?: string;
  /** Milliseconds between the events of `stand-in-endless`. */
  readonly endlessInterval?: number;
  readonly log?: (line: string) => void;
}

export async function startTlsStandIn(provider: Provider, options: StandInOptions): Promise<StandIn> {
  const { certificate, privateKey } = await options.authority.issue([
    ...provider.hosts,
    "localhost",
    "127.0.0.1",
  ]);
  const state = {
    key: options.key,
    always: undefined as Misbehaviour | undefined,
    requests: [] as ReceivedRequest[],
    streams: [] as StreamRecord[],
  };
  const taker = new SocketTaker();
  const server = createServer(
    { cert: certificate, key: privateKey, ALPNProtocols: ["http/1.1"] },
    (request, response) => {
      handle(request, response).catch((error: unknown) => {
        options.log?.(`stand-in ${provider.name}: ${String(error)}`);
        response.destroy();
      });
    },
  );

  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => {});
    handle(request, plainAnswerTo(request, socket), (converse) =>
      taker.take(request, socket, head, converse),
    ).catch(() => socket.destroy());
  });

  async function handle(
    request: IncomingMessage,
    response: ServerResponse,
    upgrade?: (converse: (peer: WebSocket) => void) => void,
  ): Promise<void> {
    const received = await receive(request, upgrade !== undefined);
    state.requests.push(received);
    const exchange: Exchange = {
      request: received,
      response,
      url: new URL(received.target, `https://${provider.hosts[0]}`),
      key: state.key,
      trackStream: () => trackStream(received, response, state.streams),
    };
    if (provider.refuseCredential(exchange)) return;
    const converse = upgrade === undefined ? undefined : provider.converse?.(exchange);
    if (converse !== undefined) {
      response.detachSocket(response.socket!);
      return upgrade!(converse);
    }
    const misbehaviour = state.always ?? wantedMisbehaviour(exchange);
    if (misbehaviour !== undefined) return misbehave(misbehaviour, exchange, provider, options);
    await provider.answer(exchange);
  }

  await listen(server);
  return {
    name: provider.name,
    port: (server.address() as AddressInfo).port,
    hosts: provider.hosts,
    requests: state.requests,
    streams: state.streams,
    sockets: taker.records,
    get openStreams() {
      return state.streams.filter(isOpen).length;
    },
    setKey: (key) => void (state.key = key),
    setMisbehaviour: (misbehaviour) => void (state.always = misbehaviour),
    forgetRequests: () => void (state.requests.length = 0),
    close: () => {
      taker.close();
      return close(server);
    },
  };
}

const isOpen = (stream: StreamRecord) => stream.abortedAt === undefined && stream.finishedAt === undefined;

async function receive(request: IncomingMessage, isUpgrade: boolean): Promise<ReceivedRequest> {
  const chunks: Buffer[] = [];
  // What follows an upgrade is no body.
  if (!isUpgrade) for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  return {
    method: request.method ?? "",
    target: request.url ?? "",
    headers: request.headers,
    rawHeaders: request.rawHeaders,
    body,
    json: parseJsonOrNothing(body),
    credentials: findCredentials(request),
    remote: { address: request.socket.remoteAddress ?? "", port: request.socket.remotePort ?? 0 },
    serverName: (request.socket as { servername?: string | false }).servername || undefined,
    at: Date.now(),
  };
}

function parseJsonOrNothing(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    return undefined;
  }
}

function trackStream(
  request: ReceivedRequest,
  response: ServerResponse,
  streams: StreamRecord[],
): StreamRecord {
  const record: StreamRecord = { target: request.target, startedAt: Date.now(), events: 0 };
  streams.push(record);
  response.once("close", () => {
    if (response.writableFinished) record.finishedAt = Date.now();
    else record.abortedAt = Date.now();
  });
  return record;
}

const listen = (server: Server) =>
  new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });

const close = (server: Server) =>
  new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
