// SPDX-License-Identifier: Apache-2.0
/** Do our codec and Node's strict parser find the same requests in the bytes of a connection? */
import { METHODS } from "node:http";
import { InboundCodec } from "../../packages/server/src/gateway/http/inbound.ts";
import type { Exchange } from "../../packages/server/src/gateway/http/messages.ts";
import { Choices } from "../choices.ts";
import { type Cuts, cutUp, HEADER_BYTES, readByNode, type SeenRequest, wire } from "../http-wire.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const LIMITS = {
  headerBytes: HEADER_BYTES,
  headersTimeout: 60_000,
  requestTimeout: 60_000,
  idleTimeout: 60_000,
};

interface Reading {
  readonly requests: readonly SeenRequest[];
  readonly isRefused: boolean;
  /** What was answered, without the times in it. */
  readonly answer: string;
}

async function readByUs(bytes: Buffer, cuts: Cuts): Promise<Reading> {
  const { near, answered, send } = wire();
  const requests: SeenRequest[] = [];
  let isRefused = false;
  const codec = new InboundCodec(LIMITS, {
    exchange: (exchange) => void serve(exchange, requests).catch(() => exchange.destroy()),
    connect: ({ target, headers }, socket) => {
      requests.push({
        method: "CONNECT",
        target,
        headers: headers.map((pair) => pair.join(": ")),
        body: "",
        isWhole: true,
      });
      socket.destroy();
    },
    malformed: (_detail, socket) => {
      isRefused = true;
      socket.destroy();
    },
  });
  codec.accept(near, { kind: "door", authorities: [] });
  await send(cutUp(bytes, cuts));
  const answer = (await answered)
    .toString("latin1")
    .replaceAll(/^date: .*\r\n/gm, "")
    // Sent to whoever still waits for it: one piece brings the body along.
    .replaceAll("HTTP/1.1 100 Continue\r\n\r\n", "");
  codec.close();
  // What a reader was still waiting for has failed by now.
  await new Promise((resolve) => setImmediate(resolve));
  return { requests, isRefused, answer };
}

async function serve(exchange: Exchange, requests: SeenRequest[]): Promise<void> {
  const { method, target, headers, body } = exchange.request;
  const chunks: Buffer[] = [];
  const seen = (isWhole: boolean): SeenRequest => ({
    method,
    target,
    headers: headers.map((pair) => pair.join(": ")),
    body: Buffer.concat(chunks).toString("latin1"),
    isWhole,
  });
  const place = requests.push(seen(false)) - 1;
  try {
    for await (const chunk of body) chunks.push(chunk);
  } catch (error) {
    requests[place] = seen(false);
    throw error;
  }
  requests[place] = seen(true);
  const answer = exchange.startAnswer({ status: 200, headers: [["content-length", "2"]] });
  await answer.end(Buffer.from("ok"));
}

/** llhttp knows the registered methods only, and no target that is neither a path nor a URL: it may refuse these. */
const isForeign = ({ method, target }: SeenRequest): boolean =>
  !METHODS.includes(method) ||
  !/^(\/|\*|[a-z]+:\/\/[\x21-\x7e]+)/i.test(target) ||
  method === "CONNECT" ||
  /[^\x21-\x7e]/.test(target);

/** The first two bytes choose the cuts, the rest is the connection. */
async function check(input: Buffer): Promise<void> {
  const choose = new Choices(input.subarray(0, 2));
  const bytes = input.subarray(2);
  const whole = await readByUs(bytes, []);
  const cut = await readByUs(bytes, [1 + choose.below(8), 1 + choose.below(40)]);
  compareReadings(cut, whole);
  if (bytes.length < 400) compareReadings(await readByUs(bytes, [1]), whole);
  const theirs = await readByNode(bytes);
  for (const [index, request] of whole.requests.entries()) {
    const other = theirs[index];
    if (isForeign(request) && (other === undefined || !same(request, other))) return;
    if (!request.isWhole && other === undefined) return;
    demand(other !== undefined, `request ${index} is none to Node: ${JSON.stringify(request)}`);
    const { body, isWhole, ...head } = request;
    demandEqual(
      head,
      { method: other.method, target: other.target, headers: other.headers },
      `request ${index}`,
    );
    if (!isWhole) return;
    demandEqual([body, isWhole], [other.body, other.isWhole], `the body of request ${index}`);
  }
}

const same = (a: SeenRequest, b: SeenRequest): boolean => JSON.stringify(a) === JSON.stringify(b);

/**
 * What was there of a broken body depends on the cuts; that it broke does not. Whether a CONNECT came before the
 * answer in front of it, and is refused, depends on them as well.
 */
function compareReadings(a: Reading, b: Reading): void {
  const complete = ({ requests }: Reading): readonly SeenRequest[] => {
    const tunnel = requests.findIndex(({ method }, index) => method === "CONNECT" && index > 0);
    return requests.slice(0, tunnel < 0 ? undefined : tunnel).filter(({ isWhole }) => isWhole);
  };
  demandEqual(complete(a), complete(b), "requests of the same bytes in other pieces");
  if ([a, b].some(({ requests }) => requests.slice(1).some(({ method }) => method === "CONNECT"))) return;
  demandEqual(a.isRefused, b.isRefused, "refused in other pieces");
  demandEqual(a.answer, b.answer, "answers to the same bytes in other pieces");
}

const LINES = [
  ...[
    "GET / HTTP/1.1\r\n",
    "POST /a?b HTTP/1.1\r\n",
    "GET http://a/ HTTP/1.1\r\n",
    "HEAD / HTTP/1.0\r\n",
    "CONNECT a:443 HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
  ],
  ...[
    "Host: a\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 00005\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: 5, 5\r\n",
    "content-length:5 \r\n",
  ],
  ...[
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
    "transfer-encoding:\tchunked\r\n",
    "Transfer-Encoding: x, chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
  ],
  ...[
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Connection: upgrade\r\n",
    "Upgrade: websocket\r\n",
    "Expect: 100-continue\r\n",
    "X-A: b\r\n",
    " folded\r\n",
    "X: \0\r\n",
    "X:\r\n",
    ": x\r\n",
  ],
  ...[
    "\r\n",
    "\r\n",
    "\n",
    "\r",
    "hello",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "0\r\nX-T: y\r\n\r\n",
    "5;a=b\r\nhello\r\n",
    "5 \r\nhello\r\n",
    "05\r\nhello\r\n",
    "0x5\r\nhello\r\n",
    "fffffffffffffffff\r\n",
    "5\nhello\r\n",
    "5\r\nhello",
  ],
];
const PLAIN = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const LENGTH = "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKED = "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

const target: FuzzTarget = {
  parsers: [
    "packages/server/src/gateway/http/message-head.ts",
    "packages/server/src/gateway/http/body-decoder.ts",
    "packages/server/src/gateway/http/inbound-connection.ts",
  ],
  property:
    "Every request that is accepted is one to Node's strict parser too, with the same method, target, headers and body in the same order; bytes in other pieces give the same.",
  words: [...LINES, PLAIN, LENGTH, CHUNKED],
  make: (choose) =>
    choose.bytes(2).toString("latin1").padEnd(2, "\x03") +
    choose
      .list(4, () =>
        choose.once(2)
          ? choose.pick([PLAIN, LENGTH, CHUNKED])
          : choose.list(9, () => choose.pick(LINES)).join(""),
      )
      .join(""),
  largest: 4096,
  slowest: 2000,
  check,
};
export default target;
