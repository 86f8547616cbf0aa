// SPDX-License-Identifier: Apache-2.0
/** Do our codec and Node's client find the same answer in the bytes of an upstream, and is no next request given its rest? */
import { type IncomingMessage, request as nodeRequest } from "node:http";
import type { TLSSocket } from "node:tls";
import { Ending } from "../../packages/server/src/gateway/ending.ts";
import { OutboundConnection } from "../../packages/server/src/gateway/http/outbound.ts";
import { Fault } from "../../packages/server/src/kernel/fault.ts";
import { Choices } from "../choices.ts";
import { type Cuts, cutUp, headerLines, wire } from "../http-wire.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

interface SeenAnswer {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: string;
  readonly isWhole: boolean;
}

interface Reading {
  readonly answer?: SeenAnswer;
  /** Whether the connection was said to be good for another request. */
  readonly isFree: boolean;
}

const SECOND = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nx-second: yes\r\n\r\nsecond";

async function readByUs(bytes: Buffer, method: string, cuts: Cuts): Promise<Reading> {
  const { near, send, sendMore } = wire();
  const connection = new OutboundConnection(near as TLSSocket);
  let isFree = false;
  const ask = (onFree: () => void) =>
    connection.send({ method, target: "/", headers: [["host", "a"]], body: undefined }, new Ending(), onFree);
  const answering = ask(() => (isFree = true)).then(seenByUs, (error: unknown) => {
    demand(error instanceof Fault, `sending failed with ${String(error)}`);
    return undefined;
  });
  await sendMore(cutUp(bytes, cuts));
  const wasFree = isFree && !connection.isClosed;
  if (wasFree) await checkSecond(ask, sendMore);
  await send([]);
  const answer = await answering;
  connection.close();
  return { isFree: wasFree, ...(answer === undefined ? {} : { answer }) };
}

/** What the next request gets is what comes for it, and nothing of the answer before. */
async function checkSecond(
  ask: (onFree: () => void) => ReturnType<OutboundConnection["send"]>,
  sendMore: (pieces: readonly Buffer[]) => Promise<void>,
): Promise<void> {
  const answering = ask(() => {}).then(seenByUs);
  await sendMore([Buffer.from(SECOND)]);
  const { headers } = await answering;
  demand(headers.includes("x-second: yes"), "the next request got a rest of the answer before");
}

async function seenByUs({
  answer: { status, headers, body },
}: Awaited<ReturnType<OutboundConnection["send"]>>): Promise<SeenAnswer> {
  const chunks: Buffer[] = [];
  let isWhole = true;
  try {
    for await (const chunk of body) chunks.push(chunk);
  } catch {
    isWhole = false;
  }
  return {
    status,
    headers: headers.map((pair) => pair.join(": ")),
    body: Buffer.concat(chunks).toString("latin1"),
    isWhole,
  };
}

/** Node's strict parser as a client has it. */
async function readByNode(bytes: Buffer, method: string): Promise<SeenAnswer | undefined> {
  const { near, send, answered } = wire();
  const { promise, resolve } = Promise.withResolvers<SeenAnswer | undefined>();
  const outgoing = nodeRequest({
    method,
    path: "/",
    headers: { host: "a" },
    createConnection: () => near,
    maxHeaderSize: 65_536,
    insecureHTTPParser: false,
  });
  outgoing.on("response", (incoming) => resolve(seenByNode(incoming)));
  outgoing.on("upgrade", (_incoming, socket) => {
    socket.destroy();
    resolve(undefined);
  });
  outgoing.on("error", () => resolve(undefined));
  outgoing.on("close", () => setImmediate(() => resolve(undefined)));
  outgoing.end();
  await send([bytes]);
  const seen = await promise;
  near.destroy();
  await answered;
  return seen;
}

async function seenByNode(incoming: IncomingMessage): Promise<SeenAnswer> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
  } catch {
    // `complete` says so.
  }
  return {
    status: incoming.statusCode ?? 0,
    headers: headerLines(incoming.rawHeaders),
    body: Buffer.concat(chunks).toString("latin1"),
    isWhole: incoming.complete,
  };
}

/** The first byte chooses the method, the next two the cuts; the rest is what the upstream sends. */
async function check(input: Buffer): Promise<void> {
  const choose = new Choices(input.subarray(0, 3));
  const method = choose.pick(["GET", "HEAD", "POST"]);
  const cuts = [1 + choose.below(8), 1 + choose.below(40)];
  const bytes = input.subarray(3);
  const whole = await readByUs(bytes, method, []);
  compareReadings(await readByUs(bytes, method, cuts), whole);
  if (bytes.length < 400) compareReadings(await readByUs(bytes, method, [1]), whole);
  const { answer } = whole;
  if (answer === undefined) return;
  const theirs = await readByNode(bytes, method);
  demand(
    theirs !== undefined || !answer.isWhole,
    `an answer that is none to Node: ${JSON.stringify(answer)}`,
  );
  if (theirs === undefined) return;
  demandEqual([answer.status, answer.headers], [theirs.status, theirs.headers], "status and headers");
  if (answer.isWhole) demandEqual([answer.body, true], [theirs.body, theirs.isWhole], "the body");
}

/** Whether a broken answer has begun before it broke, and with how much of its body, depends on the cuts. */
function compareReadings(a: Reading, b: Reading): void {
  const plain = ({ answer }: Reading) => (answer?.isWhole === true ? answer : undefined);
  demandEqual(plain(a), plain(b), "the answer in other pieces");
  demandEqual(a.isFree, b.isFree, "free for another request in other pieces");
}

const LINES = [
  ...[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "HTTP/1.1 304 Not Modified\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 101 S\r\n",
    "HTTP/1.1 103 \r\nLink: a\r\n\r\n",
    "HTTP/1.1 999\r\n",
    "HTTP/1.1 20\r\n",
  ],
  ...[
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 005\r\n",
    "Content-Length: 5,5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Keep-Alive: timeout=5\r\n",
  ],
  ...[
    "Set-Cookie: a\r\n",
    "X: \xe4\r\n",
    " folded\r\n",
    "X:\r\n",
    "Upgrade: x\r\nConnection: upgrade\r\n",
    "\r\n",
    "\r\n",
    "\n",
    "\r",
    "hello",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "0\r\nX: y\r\n\r\n",
    "5;a\r\nhello\r\n",
    "5 \r\nhello\r\n",
    "5\nhello\r\n",
  ],
];
const LENGTH = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

const target: FuzzTarget = {
  parsers: [
    "packages/server/src/gateway/http/message-head.ts",
    "packages/server/src/gateway/http/answer-reader.ts",
    "packages/server/src/gateway/http/outbound.ts",
  ],
  property:
    "Every answer that is taken as whole is the same to Node's client, in whatever pieces it came; on a connection that is used again the next request gets its own answer.",
  words: [...LINES, LENGTH, CHUNKED],
  make: (choose) =>
    choose.bytes(3).toString("latin1").padEnd(3, "\x03") +
    (choose.once(2) ? choose.pick([LENGTH, CHUNKED]) : "HTTP/1.1 200 OK\r\n") +
    choose.list(9, () => choose.pick(LINES)).join(""),
  largest: 4096,
  slowest: 2000,
  check,
};
export default target;
