// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { Fault } from "../../kernel/fault.ts";
import { Ending } from "../ending.ts";
import { streamOf, textOf } from "../request.fixture.ts";
import type { UpstreamRequest } from "./messages.ts";
import { OutboundConnection } from "./outbound.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A connection to an upstream that does what `serve` says; TLS plays no part here. */
async function connected(
  serve: (socket: Socket) => void,
  limits?: ConstructorParameters<typeof OutboundConnection>[1],
) {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    serve(socket);
  }).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  await once(socket, "connect");
  return new OutboundConnection(socket as TLSSocket, limits);
}

/** An upstream that answers the first bytes it gets with these, and ends the connection if so told. */
const answering = (bytes: string, end = false) =>
  connected((socket) => {
    socket.once("data", () => {
      socket.write(bytes, "latin1");
      if (end) socket.end();
    });
  });

const get: UpstreamRequest = { method: "GET", target: "/", headers: [["host", "x"]], body: undefined };
const send = async (connection: OutboundConnection, request = get, onFree = () => {}) =>
  (await connection.send(request, new Ending(), onFree)).answer;

describe("an upstream's answer that is not one unambiguous answer", () => {
  it.each([
    ["no status line", "hello\r\n\r\n"],
    ["another protocol", "SSH-2.0-x\r\n"],
    ["bare line feeds", "HTTP/1.1 200 OK\ncontent-length: 0\n\n"],
    ["a folded header", "HTTP/1.1 200 OK\r\nx: y\r\n z\r\ncontent-length: 0\r\n\r\n"],
    ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"],
    ["length and chunks", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"],
    ["an unknown coding", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n"],
    ["a protocol nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"],
    ["interim answers without end", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100)],
    ["a head that is too long", `HTTP/1.1 200 OK\r\nx: ${"a".repeat(70_000)}`],
    ["headers without end", `HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(2000)}\r\n`],
  ])("is an upstream's failure, and the connection is not used again: %s", async (_name, bytes) => {
    const connection = await answering(bytes);
    await expect(send(connection)).rejects.toMatchObject({ code: "upstream_failed" });
    expect(connection.isClosed).toBe(true);
  });

  it("never comes back in the complaint", async () => {
    const error: unknown = await send(await answering("HTTP/1.1 200 sk-secret\0\r\n\r\n")).catch(
      (thrown: unknown) => thrown,
    );
    expect(String(error)).not.toContain("sk-secret");
  });
});

describe("a body that breaks off", () => {
  it.each([
    ["shorter than its length", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"],
    ["without a last chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"],
    ["with a broken chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n"],
  ])("reaches its reader as a failure, not as an end: %s", async (_name, bytes) => {
    const connection = await answering(bytes, true);
    const read = async () => textOf((await send(connection)).body);
    await expect(read()).rejects.toMatchObject({ code: "upstream_failed" });
    expect(connection.isClosed).toBe(true);
  });
});

describe("a connection", () => {
  const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

  it("is free again after an answer, and only then", async () => {
    const connection = await connected((socket) => socket.on("data", () => socket.write(OK)));
    let free = 0;
    for (const expected of [1, 2]) {
      const answer = await send(connection, get, () => free++);
      expect(await textOf(answer.body)).toBe("ok");
      expect(free).toBe(expected);
    }
    const [first, second] = await Promise.allSettled([send(connection), send(connection)]);
    expect([first.status, second.status]).toEqual(["fulfilled", "rejected"]);
  });

  it.each([
    ["bytes that come after the answer", `${OK}HTTP/1.1 200 OK\r\n\r\n`],
    ["an answer that says so", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"],
    ["HTTP/1.0", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"],
  ])("is not used again because of %s", async (_name, bytes) => {
    const connection = await answering(bytes);
    expect(await textOf((await send(connection)).body)).toBe("ok");
    expect(connection.isClosed).toBe(true);
  });

  it("closes when something comes that nobody asked for", async () => {
    let upstream: Socket | undefined;
    const connection = await connected((socket) => {
      upstream = socket;
      socket.once("data", () => socket.write(OK));
    });
    await textOf((await send(connection)).body);
    expect(connection.isClosed).toBe(false);
    upstream!.write(OK);
    await expect.poll(() => connection.isClosed).toBe(true);
  });

  it("closes when the exchange is over before its time, before and after the head", async () => {
    for (const bytes of ["", "HTTP/1.1 200 OK\r\n\r\nabc"]) {
      const connection = await answering(bytes);
      const ending = new Ending();
      const answer = connection.send(get, ending, () => {});
      if (bytes === "") ending.end();
      else {
        const { body } = (await answer).answer;
        ending.end();
        await expect(textOf(body)).rejects.toBeInstanceOf(Fault);
      }
      if (bytes === "") await expect(answer).rejects.toBeInstanceOf(Fault);
      expect(connection.isClosed).toBe(true);
    }
  });

  it("waits for a head as long as it may, and for each piece of a body", async () => {
    const limits = { headersTimeout: 1000, bodyIdleTimeout: 500 };
    const silent = await connected(() => {}, limits);
    const answer = send(silent);
    silent.checkTime(performance.now() + 900);
    expect(silent.isClosed).toBe(false);
    silent.checkTime(performance.now() + 1100);
    await expect(answer).rejects.toMatchObject({ code: "upstream_timeout" });

    const slow = await connected(
      (socket) => socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\n\r\na")),
      limits,
    );
    const { body } = await send(slow);
    slow.checkTime(performance.now() + 600);
    await expect(textOf(body)).rejects.toMatchObject({ code: "upstream_timeout" });
  });

  it("is kept as long as the upstream says that it waits, but for a margin", async () => {
    const connection = await connected((socket) =>
      socket.on("data", () =>
        socket.write("HTTP/1.1 200 OK\r\nkeep-alive: timeout=30, max=5\r\ncontent-length: 0\r\n\r\n"),
      ),
    );
    await send(connection);
    connection.checkTime(performance.now() + 28_000);
    expect(connection.isClosed).toBe(false);
    connection.checkTime(performance.now() + 30_000);
    expect(connection.isClosed).toBe(true);
  });
});

describe("a request", () => {
  const received = async (request: UpstreamRequest) => {
    let bytes = "";
    const connection = await connected((socket) =>
      socket.on("data", (data: Buffer) => {
        bytes += data.toString("latin1");
        if (
          bytes.endsWith("!") ||
          bytes.endsWith("0\r\n\r\n") ||
          (request.body === undefined && bytes.endsWith("\r\n\r\n"))
        )
          socket.write("HTTP/1.1 204 Fine\r\n\r\n");
      }),
    );
    await send(connection, request);
    return bytes;
  };
  const post = (body: UpstreamRequest["body"], ...headers: [string, string][]): UpstreamRequest => ({
    method: "POST",
    target: "/a?b",
    headers: [["host", "x"], ...headers],
    body,
  });

  it("goes out as one head and its body, in the framing that was decided", async () => {
    expect(await received(get)).toBe("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    expect(await received(post(Buffer.from("abc!"), ["content-length", "4"]))).toBe(
      "POST /a?b HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nabc!",
    );
    expect(await received(post(streamOf("ab", "c!"), ["content-length", "4"]))).toBe(
      "POST /a?b HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nabc!",
    );
    expect(await received(post(streamOf("ab", "c")))).toBe(
      "POST /a?b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
    );
  });

  it.each([
    ["a longer body than announced", streamOf("abc"), "2"],
    ["a shorter body than announced", streamOf("a"), "2"],
  ])("with %s is broken off", async (_name, body, length) => {
    const connection = await connected(() => {});
    await expect(send(connection, post(body, ["content-length", length]))).rejects.toMatchObject({
      code: "upstream_failed",
    });
    expect(connection.isClosed).toBe(true);
  });

  it("whose body refuses to leave is broken off with that word", async () => {
    const connection = await connected(() => {});
    const body = (async function* () {
      yield Buffer.from("a");
      throw new Fault("content_refused", "not this");
    })();
    await expect(send(connection, post(body))).rejects.toMatchObject({
      code: "content_refused",
      message: "not this",
    });
  });

  it.each([
    ["a line break in a header", { ...get, headers: [["x", "a\r\nb: c"]] }],
    ["a line break in a name", { ...get, headers: [["x\r\nb", "c"]] }],
    ["a space in the target", { ...get, target: "/a b" }],
    ["a line break in the target", { ...get, target: "/a\r\nx: y" }],
  ] as [string, UpstreamRequest][])("that cannot be written is not: %s", async (_name, request) => {
    let bytes = 0;
    const connection = await connected((socket) =>
      socket.on("data", (data: Buffer) => (bytes += data.length)),
    );
    await expect(send(connection, request)).rejects.toMatchObject({ code: "injection_failed" });
    expect(bytes).toBe(0);
  });
});

describe("another protocol", () => {
  it("is handed over with the bytes that came after the head, and only where it was asked for", async () => {
    const connection = await answering("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\nfirst");
    const { answer, stream } = await connection.upgrade(get, new Ending(), () => {});
    expect(answer.status).toBe(101);
    stream!.resume();
    const [bytes] = (await once(stream!, "data")) as [Buffer];
    expect(bytes.toString()).toBe("first");
    expect(connection.isClosed).toBe(true);
    stream!.destroy();
  });

  it("that is refused gives an ordinary answer", async () => {
    const connection = await answering("HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno");
    const { answer, stream } = await connection.upgrade(get, new Ending(), () => {});
    expect([answer.status, stream]).toEqual([403, undefined]);
    expect(await textOf(answer.body)).toBe("no");
  });
});
