// SPDX-License-Identifier: Apache-2.0
/** HTTP without a network: bytes in pieces into one end of a pair of streams, and Node's own reading of requests. */
import { createServer, type IncomingMessage, type Server } from "node:http";
import { type Duplex, duplexPair } from "node:stream";

export interface SeenRequest {
  readonly method: string;
  readonly target: string;
  /** Names in lower case, `name: value`. */
  readonly headers: readonly string[];
  readonly body: string;
  /** Whether the body came to its end. */
  readonly isWhole: boolean;
}

export const HEADER_BYTES = 16_384;

/** How one text is cut: the first cut is after so many bytes, the next after so many more, and again from the start. */
export type Cuts = readonly number[];

export function cutUp(bytes: Buffer, cuts: Cuts): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const end = at + (cuts.length === 0 ? bytes.length : Math.max(1, cuts[turn % cuts.length]!));
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return pieces;
}

export interface Wire {
  /** The end that is tried. */
  readonly near: Duplex;
  /** Everything that was written to the other end, once the near one has ended. */
  readonly answered: Promise<Buffer>;
  /** Writes the pieces, one a turn. */
  sendMore(pieces: readonly Buffer[]): Promise<void>;
  /** The same, and then says that nothing more comes. */
  send(pieces: readonly Buffer[]): Promise<void>;
}

export function wire(): Wire {
  const [near, far] = duplexPair();
  near.on("error", () => {});
  far.on("error", () => {});
  const chunks: Buffer[] = [];
  const answered = new Promise<Buffer>((resolve) => {
    far.on("data", (chunk: Buffer) => chunks.push(chunk));
    for (const event of ["end", "close"]) far.once(event, () => resolve(Buffer.concat(chunks)));
    // A stream of a pair does not tell the other one that it was destroyed; a socket does.
    near.once("close", () => resolve(Buffer.concat(chunks)));
  });
  const sendMore = async (pieces: readonly Buffer[]): Promise<void> => {
    for (const piece of pieces) {
      if (near.destroyed || far.destroyed) return;
      far.write(piece);
      // One piece after the other was read.
      // oxlint-disable-next-line no-await-in-loop
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return {
    near,
    answered,
    sendMore,
    async send(pieces) {
      await sendMore(pieces);
      far.end();
    },
  };
}

/** What was seen on each connection, in the order in which requests began. */
const connections = new WeakMap<Duplex, SeenRequest[]>();
let server: Server | undefined;

function nodeServer(): Server {
  const made = createServer({
    maxHeaderSize: HEADER_BYTES,
    requireHostHeader: false,
    insecureHTTPParser: false,
  });
  made.maxHeadersCount = 0;
  const see = async (incoming: IncomingMessage): Promise<void> => {
    const seen = connections.get(incoming.socket) ?? [];
    const chunks: Buffer[] = [];
    const place = seen.push(seenRequest(incoming, chunks, false)) - 1;
    try {
      for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
    } finally {
      seen[place] = seenRequest(incoming, chunks, incoming.complete);
    }
  };
  made.on("request", (incoming, response) => {
    see(incoming).then(
      () => response.end("ok"),
      () => response.destroy(),
    );
  });
  made.on("checkExpectation", (incoming, response) => made.emit("request", incoming, response));
  made.on("connect", (incoming: IncomingMessage, socket: Duplex) => {
    connections.get(socket)?.push(seenRequest(incoming, [], true));
    socket.destroy();
  });
  // Not at once: what was read before the error is still to be heard of.
  made.on("clientError", (_error, socket) => setTimeout(() => socket.destroy(), 2));
  return made;
}

const seenRequest = (
  incoming: IncomingMessage,
  chunks: readonly Buffer[],
  isWhole: boolean,
): SeenRequest => ({
  method: incoming.method ?? "",
  target: incoming.url ?? "",
  headers: headerLines(incoming.rawHeaders),
  body: Buffer.concat(chunks).toString("latin1"),
  isWhole,
});

export function headerLines(raw: readonly string[]): string[] {
  const lines: string[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) lines.push(`${raw[at]!.toLowerCase()}: ${raw[at + 1]}`);
  return lines;
}

/** What Node's strict parser (llhttp) makes of the bytes. */
export async function readByNode(bytes: Buffer): Promise<SeenRequest[]> {
  server ??= nodeServer();
  const { near, answered, send } = wire();
  const seen: SeenRequest[] = [];
  connections.set(near, seen);
  server.emit("connection", near);
  await send([bytes]);
  await answered;
  return seen;
}
