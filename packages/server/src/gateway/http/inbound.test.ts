// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { duplexPair } from "node:stream";
import type { Duplex } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import { InboundCodec } from "./inbound.ts";
import type { InboundLimits } from "./inbound-connection.ts";
import type { Exchange } from "./messages.ts";

const LIMITS: InboundLimits = {
  headerBytes: 4096,
  headersTimeout: 300,
  requestTimeout: 600,
  idleTimeout: 75_000,
};

let server: Server | undefined;
const clients: Socket[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.destroy();
  server?.close();
});

/** A codec behind a real socket. */
async function start(
  listeners: {
    exchange?: (exchange: Exchange) => void;
    malformed?: (detail: string) => void;
  },
  limits = LIMITS,
) {
  const codec = new InboundCodec(limits, {
    exchange: (exchange) => listeners.exchange?.(exchange),
    connect: (_request, socket) => socket.destroy(),
    malformed: (detail, socket) => {
      listeners.malformed?.(detail);
      socket.destroy();
    },
  });
  server = createServer((socket) => codec.accept(socket, { kind: "door", authorities: [] })).listen(
    0,
    "127.0.0.1",
  );
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  clients.push(client);
  client.on("error", () => {});
  await once(client, "connect");
  return client;
}

describe("an agent that is slow on purpose", () => {
  it.each([
    ["headers that never end", "GET / HTTP/1.1\r\nHost: x\r\nx-a: "],
    ["a request line that never ends", "GET /"],
    ["a body that never ends", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab"],
  ])(
    "is ended when its time is over: %s",
    async (_name, bytes) => {
      const complaints: string[] = [];
      const began = Date.now();
      const client = await start({ malformed: (detail) => complaints.push(detail) });
      client.write(bytes);
      client.resume();
      await once(client, "close");
      expect(complaints).toEqual(["the request did not arrive in time"]);
      expect(Date.now() - began).toBeGreaterThanOrEqual(250);
    },
    40_000,
  );
});

describe("a connection that has switched to another protocol", () => {
  it("outlives all limits of HTTP, and gives what came behind the request first", async () => {
    const limits = { ...LIMITS, headersTimeout: 60, requestTimeout: 60, idleTimeout: 60 };
    const switched = Promise.withResolvers<Duplex>();
    const client = await start(
      { exchange: (exchange) => switched.resolve(exchange.switchProtocols([["upgrade", "x"]])) },
      limits,
    );
    client.write("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: x\r\n\r\nfirst ");
    const stream = await switched.promise;
    const heard: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => heard.push(chunk)).resume();
    // One that only waits is ended, a while after the other would have been.
    const idle = connect((server!.address() as AddressInfo).port, "127.0.0.1");
    clients.push(idle);
    idle.resume();
    await once(idle, "close");
    client.write("second");
    await expect.poll(() => Buffer.concat(heard).toString()).toBe("first second");
    stream.write("third");
    const answered: Buffer[] = [];
    client.on("data", (chunk: Buffer) => answered.push(chunk));
    await expect
      .poll(() => Buffer.concat(answered).toString())
      .toBe("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\nthird");
    stream.destroy();
  });
});

describe("what the parser refuses", () => {
  it.each([
    [
      "a header beyond the limit",
      `GET / HTTP/1.1\r\nHost: x\r\nx-a: ${"a".repeat(5000)}\r\n\r\n`,
      "the header is larger than the limit",
    ],
    [
      "a space before the colon",
      "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
      "not one unambiguous HTTP/1.1 request: a header name holds a character that is not allowed in one",
    ],
    [
      "length and chunks",
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
      expect.stringContaining("not one unambiguous"),
    ],
  ])("is said in words that do not repeat it: %s", async (_name, bytes, complaint) => {
    const complaints: string[] = [];
    const client = await start({ malformed: (detail) => complaints.push(detail) });
    client.resume();
    client.write(bytes);
    await once(client, "close");
    expect(complaints).toEqual([complaint]);
  });
});

describe("bytes in other pieces", () => {
  /** What comes of the pieces, each in a turn of its own. */
  async function read(pieces: readonly string[]): Promise<string[]> {
    const seen: string[] = [];
    const [near, far] = duplexPair();
    const codec = new InboundCodec(LIMITS, {
      exchange: ({ request }) => void seen.push(`${request.method} ${request.target}`),
      connect: () => {},
      malformed: (detail) => seen.push(detail),
    });
    codec.accept(near, { kind: "door", authorities: [] });
    for (const piece of pieces) {
      far.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    near.destroy();
    codec.close();
    return seen;
  }

  it.each([
    ["an empty line in front of the request", "\r\nGET /a HTTP/1.1\r\n\r\n", "GET /a"],
    ["a method that begins with no letter", "4 /b HTTP/1.1\r\n\r\n", "4 /b"],
    [
      "two empty lines in front of the request",
      "\r\n\r\nGET /a HTTP/1.1\r\n\r\n",
      expect.stringContaining("not one unambiguous"),
    ],
  ])("mean the same: %s", async (_name, bytes, outcome) => {
    expect(await read([bytes])).toEqual([outcome]);
    expect(await read(bytes.split(""))).toEqual([outcome]);
  });

  it.each([
    ["CONNECT a:443", "a CONNECT came before the request in front of it was answered"],
    ["\r\nCONNECT a:443", "a CONNECT came before the request in front of it was answered"],
    ["CONNECTED /b", "CONNECTED /b"],
  ])("are a tunnel only behind the answer in front of it: %j", async (line, outcome) => {
    const seen: string[] = [];
    const [near, far] = duplexPair();
    const codec = new InboundCodec(LIMITS, {
      exchange: (exchange) => {
        seen.push(`${exchange.request.method} ${exchange.request.target}`);
        void exchange.startAnswer({ status: 204, headers: [] }).end();
      },
      connect: () => void seen.push("a tunnel"),
      malformed: (detail) => seen.push(detail),
    });
    codec.accept(near, { kind: "door", authorities: [] });
    far.resume().write(`GET /a HTTP/1.1\r\n\r\n${line} HTTP/1.1\r\n\r\n`);
    await expect.poll(() => seen).toEqual(["GET /a", outcome]);
    near.destroy();
    codec.close();
  });
});

describe("an exchange", () => {
  const first = async (bytes: string) => {
    let give: (exchange: Exchange) => void;
    const exchange = new Promise<Exchange>((resolve) => (give = resolve));
    const client = await start({ exchange: (each) => give(each) });
    client.write(bytes);
    return { client, exchange: await exchange };
  };

  it("has the target byte for byte, and all headers by their names in lower case", async () => {
    const headers = Array.from({ length: 300 }, (_, i) => `X-${i}: ${i}`).join("\r\n");
    const { exchange } = await first(`GET /a/%2e./?b HTTP/1.1\r\n${headers}\r\nhOsT: x\r\n\r\n`);
    expect(exchange.request.target).toBe("/a/%2e./?b");
    expect(exchange.request.headers).toHaveLength(301);
    expect(exchange.request.headers.at(-1)).toEqual(["host", "x"]);
  });

  it("is there for a request without Host too, to be refused with a reason", async () => {
    expect((await first("GET / HTTP/1.1\r\n\r\n")).exchange.request.headers).toEqual([]);
  });

  it("tells when the agent goes away, and that a finished answer is no such case", async () => {
    const gone = await first("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    gone.client.destroy();
    await new Promise<void>((resolve) => gone.exchange.gone.onOver(resolve));

    const { client, exchange } = await first("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    client.resume();
    await exchange.startAnswer({ status: 204, headers: [] }).end();
    await once(client, "close");
    expect(exchange.gone.isOver).toBe(false);
  });

  it("closes the connection after an answer that came before the end of the request", async () => {
    const { client, exchange } = await first("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nabc");
    let text = "";
    client.on("data", (bytes: Buffer) => (text += bytes.toString()));
    const body = exchange.startAnswer({ status: 403, headers: [["content-length", "2"]] });
    await body.write(Buffer.from("no"));
    await body.end();
    client.write("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n".padEnd(47));
    await once(client, "close");
    expect(text.toLowerCase()).toContain("connection: close");
    expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
  });

  it("waits with a write until the agent reads, and fails when it never does", async () => {
    const { client, exchange } = await first("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    client.pause();
    const body = exchange.startAnswer({ status: 200, headers: [] });
    let written = 0;
    const flood = (async () => {
      for (; written < 1000; written++) await body.write(Buffer.alloc(1024 * 1024));
    })();
    let last = -1;
    while (last !== written) {
      last = written;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(written).toBeLessThan(100);
    client.destroy();
    await expect(flood).rejects.toThrow("agent went away");
  });

  it("answers HEAD with headers alone, on a connection that stays open", async () => {
    const { client, exchange } = await first("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    let text = "";
    client.on("data", (bytes: Buffer) => (text += bytes.toString()));
    const body = exchange.startAnswer({ status: 403, headers: [["content-length", "2"]] });
    await body.write(Buffer.from("no"));
    await body.end();
    expect(exchange.gone.isOver).toBe(false);
    await expect.poll(() => text).toContain("\r\n\r\n");
    expect(text.endsWith("\r\n\r\n")).toBe(true);
    expect(client.destroyed).toBe(false);
  });
});
