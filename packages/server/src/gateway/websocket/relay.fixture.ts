// SPDX-License-Identifier: Apache-2.0
/** A relay between two streams that a test holds the other ends of, and between a real client and a real server. */
import { once } from "node:events";
import { createServer, request as sendRequest, type IncomingMessage, type Server } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocket, WebSocketServer } from "ws";
import { type Matcher, PatternMatcher } from "../../guard/pattern-matcher.ts";
import { secretPatterns } from "../../guard/secret-patterns.ts";
import { Ending } from "../ending.ts";
import type { HeaderList } from "../http/messages.ts";
import { streamOf } from "../request.fixture.ts";
import type { Refusal } from "../stages/refusal.ts";
import { FrameReader } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { checkHandshake, checkSwitch, offer, offering, subprotocolsOf, switchHeaders } from "./handshake.ts";
import { Relay, type RelayEnd, type RelayLimits, type RelayWatch } from "./relay.ts";

export const SECRET = "sk-proj-4f9c2e71b0a8d653";
const matcher = PatternMatcher.of(secretPatterns(Buffer.from(SECRET)));

export class Watch implements RelayWatch {
  refusal: Refusal | undefined;
  isReadable = true;
  bytesOut = 0;
  bytesIn = 0;
  matcher = (): Promise<Matcher> =>
    this.isReadable ? Promise.resolve(matcher) : Promise.reject(new Error("unreadable"));
  objection = (): Refusal | undefined => this.refusal;
  toUpstream = (bytes: Buffer): void => void (this.bytesOut += bytes.length);
  toAgent = (bytes: Buffer): void => void (this.bytesIn += bytes.length);
}

/** The far end of a stream: speaks frames, and remembers what it heard. */
export class FarEnd {
  readonly stream: Socket;
  readonly writer: FrameWriter;
  readonly heard: string[] = [];
  readonly #reader: FrameReader;
  #open: Buffer[] = [];
  #answersPings = false;

  constructor(name: "agent" | "upstream", stream: Socket) {
    this.stream = stream;
    // It plays the agent by writing what an agent writes, which is what goes to an upstream.
    this.writer = new FrameWriter(name === "agent" ? "upstream" : "agent");
    this.#reader = new FrameReader(name === "agent" ? "upstream" : "agent");
    stream.on("error", () => {});
  }

  /** Everything that was heard, once the stream is closed. */
  async all(): Promise<readonly string[]> {
    if (!this.stream.closed) await once(this.stream, "close");
    return this.heard;
  }

  answerPings(): this {
    this.#answersPings = true;
    return this;
  }

  listen(): this {
    this.stream.on("data", (chunk: Buffer) => {
      for (const piece of this.#reader.read(chunk)) {
        if (piece.kind === "broken") this.heard.push(`broken ${piece.code}`);
        else if (piece.kind === "close")
          this.heard.push(
            `close ${piece.bytes.length > 0 ? piece.bytes.readUInt16BE() : ""} ${piece.bytes.toString("latin1", 2)}`.trim(),
          );
        else if (piece.kind !== "data") {
          this.heard.push(`${piece.kind} ${piece.bytes.toString("latin1")}`);
          if (piece.kind === "ping" && this.#answersPings) this.control("pong", piece.bytes);
        } else {
          this.#open.push(piece.bytes);
          if (!piece.ends) continue;
          this.heard.push(
            `${piece.isText ? "text" : "binary"} ${Buffer.concat(this.#open).toString("latin1")}`,
          );
          this.#open = [];
        }
      }
    });
    return this;
  }

  text(text: string, ends = true): void {
    this.stream.write(this.writer.data(Buffer.from(text), true, ends));
  }

  control(kind: "close" | "ping" | "pong", payload: Buffer | string): void {
    this.stream.write(this.writer.control(kind, Buffer.from(payload as string)));
  }
}

/** Both ends of one connection. */
async function connection(): Promise<[Socket, Socket]> {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const far = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [near] = (await once(server, "connection")) as [Socket];
  server.close();
  return [near, far];
}

export async function relayed(limits: RelayLimits = { tick: 60_000, closing: 50 }) {
  const [agentNear, agentFar] = await connection();
  const [upstreamNear, upstreamFar] = await connection();
  const watch = new Watch();
  const stop = new Ending();
  const relay = new Relay(agentNear, upstreamNear, watch, limits);
  const ended = relay.run(stop);
  return {
    ...{ watch, stop, relay, ended },
    agent: new FarEnd("agent", agentFar),
    upstream: new FarEnd("upstream", upstreamFar),
  };
}

const pairs = (raw: readonly string[]): HeaderList =>
  Array.from({ length: raw.length / 2 }, (_, at) => [raw[2 * at]!.toLowerCase(), raw[2 * at + 1]!] as const);

/** A server of somebody else's, and in front of it as much of a gateway as a handshake needs. */
export class Between {
  readonly upstream: WebSocketServer;
  readonly ends: Promise<RelayEnd>[] = [];
  readonly watch = new Watch();
  readonly #server: Server;
  readonly #front: Server;

  private constructor(upstream: WebSocketServer, server: Server) {
    this.upstream = upstream;
    this.#server = server;
    this.#front = createServer();
    this.#front.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#open(request, socket, head),
    );
  }

  static async start(protocol?: string): Promise<Between> {
    const server = createServer();
    const upstream = new WebSocketServer({
      server,
      perMessageDeflate: true,
      ...(protocol === undefined ? {} : { handleProtocols: () => protocol }),
    });
    const between = new Between(upstream, server);
    for (const each of [server, between.#front]) await once(each.listen(0, "127.0.0.1"), "listening");
    return between;
  }

  client(protocols: readonly string[] = []): WebSocket {
    return new WebSocket(`ws://127.0.0.1:${(this.#front.address() as AddressInfo).port}/`, [...protocols]);
  }

  #open(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const raw = {
      method: request.method!,
      target: request.url!,
      headers: pairs(request.rawHeaders),
      body: streamOf(),
    };
    if (!checkHandshake(raw).ok) return void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
    const { port } = this.#server.address() as AddressInfo;
    const sent = offer({
      method: "GET",
      target: "/",
      headers: [["host", "x"], ...offering(subprotocolsOf(raw.headers))],
      body: undefined,
    });
    const dialled = sendRequest({ port, headers: sent.request.headers.flat() });
    dialled.on("upgrade", (response, upstream, rest) => {
      const answer = {
        status: 101,
        headers: pairs(response.rawHeaders),
        body: streamOf(),
        discard: () => {},
      };
      const checked = checkSwitch(answer, sent);
      if (!checked.ok) return void socket.end(`HTTP/1.1 502 ${checked.reason.detail}\r\n\r\n`);
      const lines = switchHeaders(raw, answer.headers).map((pair) => pair.join(": "));
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("\r\n")}\r\n\r\n`);
      socket.unshift(head);
      upstream.unshift(rest);
      this.ends.push(new Relay(socket, upstream, this.watch).run(new Ending()));
    });
    dialled.end();
  }

  async close(): Promise<void> {
    for (const client of this.upstream.clients) client.terminate();
    await Promise.all(this.ends);
    for (const each of [this.upstream, this.#server, this.#front]) each.close();
  }
}
