// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { createServer as createHttp2, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, createServer, type Socket } from "node:net";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { GrpcClient } from "./grpc-client.ts";
import { grpcFrame } from "./workload-api.fixture.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function serve(answer: (stream: ServerHttp2Stream) => void): Promise<GrpcClient> {
  const server = createHttp2();
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    session.on("error", () => {});
    sessions.add(session);
  });
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => {});
    stream.resume();
    answer(stream);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => (sessions.forEach((each) => each.destroy()), server.close()));
  const client = new GrpcClient({
    kind: "tcp",
    host: "127.0.0.1",
    port: (server.address() as AddressInfo).port,
  });
  cleanups.push(() => client.close());
  return client;
}

const HEADERS = { ":status": 200, "content-type": "application/grpc" };

/** Sends these pieces, then the status. */
const sending =
  (pieces: readonly Buffer[], trailers: Record<string, string> | null = { "grpc-status": "0" }) =>
  (stream: ServerHttp2Stream): void => {
    stream.respond(HEADERS, { waitForTrailers: true });
    stream.on("wantTrailers", () => (trailers === null ? stream.close() : stream.sendTrailers(trailers)));
    for (const piece of pieces) stream.write(piece);
    stream.end();
  };

const huge = Buffer.alloc(5);
huge.writeUInt32BE(2 ** 31, 1);

describe("an answer of a hostile server", () => {
  it.each([
    ["with a compressed message", "response_invalid", undefined, sending([grpcFrame(Buffer.from("a"), 1)])],
    ["with a message that would take two gigabytes", "response_invalid", undefined, sending([huge])],
    ["with half a message", "workload_api", 13, sending([grpcFrame(Buffer.from("abc")).subarray(0, 6)])],
    ["without a status", "workload_api", 14, sending([], null)],
    ["with a status that is none", "workload_api", 2, sending([], { "grpc-status": "fine" })],
    [
      "with two messages",
      "response_invalid",
      undefined,
      sending([grpcFrame(Buffer.alloc(1)), grpcFrame(Buffer.alloc(1))]),
    ],
    ["with no message", "response_invalid", undefined, sending([])],
    ["with a reset", "workload_api", 14, (stream: ServerHttp2Stream) => stream.close(2)],
    [
      "with another content",
      "workload_api",
      2,
      (stream: ServerHttp2Stream) => stream.respond({ ":status": 200, "content-type": "text/html" }),
    ],
    [
      "of HTTP 404",
      "workload_api",
      12,
      (stream: ServerHttp2Stream) => stream.respond({ ":status": 404 }, { endStream: true }),
    ],
    [
      "of HTTP 503",
      "workload_api",
      14,
      (stream: ServerHttp2Stream) => stream.respond({ ":status": 503 }, { endStream: true }),
    ],
    ["that never comes", "workload_api", 4, () => {}],
  ])("ends the call, %s", async (_, code, status, answer) => {
    const client = await serve(answer);
    const call = client.unary("Any", Buffer.alloc(0), { timeout: status === 4 ? 50 : 20_000 });
    await expect(call).rejects.toMatchObject({ code, status });
  });

  it("ends the call where it is no HTTP/2, whatever it is", async () => {
    let answer = new Uint8Array();
    const server = createServer((socket: Socket) => {
      socket.on("error", () => {});
      socket.end(answer);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    cleanups.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        answer = bytes;
        const client = new GrpcClient({ kind: "tcp", host: "127.0.0.1", port });
        await expect(client.unary("Any", Buffer.alloc(0), {})).rejects.toMatchObject({
          code: "workload_api",
        });
        client.close();
      }),
      { numRuns: 40 },
    );
  });
});

describe("a call", () => {
  it("gets its messages whole, however they are cut", async () => {
    const messages = [Buffer.from("first"), Buffer.alloc(0), Buffer.alloc(70_000, 7)];
    const bytes = Buffer.concat(messages.map((each) => grpcFrame(each)));
    const pieces = [bytes.subarray(0, 1), bytes.subarray(1, 4), bytes.subarray(4, 13), bytes.subarray(13)];
    const client = await serve(sending(pieces));
    const got: Buffer[] = [];
    await client.stream("Any", Buffer.alloc(0), (message) => void got.push(Buffer.from(message)));
    expect(got.map((each) => each.length)).toEqual([5, 0, 70_000]);
    expect(Buffer.concat(got).equals(Buffer.concat(messages))).toBe(true);
  });

  it("tells what the server says of a refusal, decoded", async () => {
    const client = await serve((stream) =>
      stream.respond(
        { ...HEADERS, "grpc-status": "7", "grpc-message": "no identity%20issued" },
        { endStream: true },
      ),
    );
    await expect(client.unary("Any", Buffer.alloc(0), {})).rejects.toMatchObject({
      status: 7,
      message: expect.stringContaining("no identity issued") as string,
    });
  });

  it("makes a new connection where the old one is gone", async () => {
    let calls = 0;
    const client = await serve((stream) => {
      if (++calls === 1) return stream.session!.destroy();
      sending([grpcFrame(Buffer.from("x"))])(stream);
    });
    await expect(client.unary("Any", Buffer.alloc(0), {})).rejects.toMatchObject({ status: 14 });
    expect((await client.unary("Any", Buffer.alloc(0), {})).toString()).toBe("x");
  });

  it("is refused by a client that is closed, and by a caller who has given up", async () => {
    const client = await serve(() => {});
    const signal = AbortSignal.abort();
    await expect(client.unary("Any", Buffer.alloc(0), { signal })).rejects.toMatchObject({ status: 1 });
    client.close();
    await expect(client.unary("Any", Buffer.alloc(0), {})).rejects.toMatchObject({ code: "closed" });
  });
});
