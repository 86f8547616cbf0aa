// SPDX-License-Identifier: Apache-2.0
/** What does a caller get from a service that proves its ID, and then does not behave; or that never proves it? */
import { once } from "node:events";
import { Agent, get } from "node:https";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { anyId } from "./authorize.ts";
import { connectTls, SpiffeAgent, spiffeFetch } from "./tls-client.ts";
import { createSpiffeTlsServer } from "./tls-server.ts";
import { answerFor, LiveDomain } from "./trust-domain.fixture.ts";
import { FakeWorkloadApi } from "./workload-api.fixture.ts";
import { X509Source } from "./x509-source.ts";

const domain = new LiveDomain();
const cleanups: (() => unknown)[] = [];
let source: X509Source;
beforeEach(async () => {
  const api = await FakeWorkloadApi.start();
  api.answer("FetchX509SVID", { message: answerFor(domain) });
  source = await X509Source.open({ endpoint: api.endpoint });
  cleanups.push(
    () => api.stop(),
    () => source.close(),
  );
});
afterEach(async () => {
  vi.useRealTimers();
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** A service that proves its ID and answers every request with these bytes. */
async function serve(bytes: string, end: "open" | "ended" | "reset" = "ended"): Promise<string> {
  const server = createSpiffeTlsServer({ source, authorize: anyId }, (socket) => {
    socket.on("error", () => {});
    socket.once("data", () => {
      if (end === "ended") return socket.end(bytes, "latin1");
      socket.write(bytes, "latin1", () => end === "reset" && socket.destroy());
    });
  });
  return `https://127.0.0.1:${await listen(server)}/`;
}

const call = (url: string, init?: RequestInit): Promise<Response> =>
  spiffeFetch({ source, authorize: anyId })(url, init);

describe("fetch, with a service that does not behave", () => {
  it.each([
    ["a status that there is not", "HTTP/1.1 999 Fine\r\n\r\n"],
    ["no HTTP", "SSH-2.0-OpenSSH\r\n"],
    ["nothing at all", ""],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
    ["a head without end", `HTTP/1.1 200 OK\r\nX: ${"a".repeat(100_000)}`],
    ["a line feed in a header", "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n"],
  ])("fails, of %s", async (_, bytes) => {
    await expect(call(await serve(bytes))).rejects.toThrow();
  });

  it.each(["ended", "reset"] as const)("gives no body that is cut off as a whole one, %s", async (end) => {
    const response = await call(await serve("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", end));
    await expect(response.text()).rejects.toThrow();
  });

  it("ends the body when the caller gives up in the middle of it", async () => {
    const url = await serve("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "open");
    const waiting = new AbortController();
    const response = await call(url, { signal: waiting.signal });
    const text = response.text();
    waiting.abort();
    await expect(text).rejects.toThrow();
  });

  it("asks nothing without TLS", async () => {
    let connections = 0;
    const port = await listen(createServer((socket) => (connections++, socket.destroy())));
    await expect(call(`http://127.0.0.1:${port}/`)).rejects.toThrow("Protocol");
    expect(connections).toBe(0);
  });
});

describe("a service that takes the connection and never shakes hands", () => {
  async function silent(): Promise<{ port: number; sockets: Socket[] }> {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      socket.on("error", () => {});
      sockets.push(socket);
    });
    cleanups.push(() => sockets.forEach((each) => each.destroy()));
    return { sockets, port: await listen(server) };
  }

  it("is waited for half a minute, and left", async () => {
    const { port, sockets } = await silent();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const connecting = connectTls({ host: "127.0.0.1", port, source, authorize: anyId });
    const refused = connecting.catch((error: Error) => error.message);
    while (sockets.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const closed = once(sockets[0]!, "close");
    sockets[0]!.resume();
    vi.advanceTimersByTime(30_000);
    expect(await refused).toContain("no handshake");
    await closed;
  });

  it("is left at once when the caller gives up", async () => {
    const { port, sockets } = await silent();
    const waiting = new AbortController();
    const { signal } = waiting;
    const connecting = connectTls({ host: "127.0.0.1", port, source, authorize: anyId, signal });
    const refused = connecting.catch((error: Error) => error.message);
    while (sockets.length === 0) await new Promise((resolve) => setImmediate(resolve));
    waiting.abort();
    expect(await refused).toContain("abort");
  });
});

it("an agent of this library and Node's own share no connection and no answer", async () => {
  const url = await serve("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  const agent = new SpiffeAgent({ source, authorize: anyId });
  cleanups.push(() => agent.destroy());
  const ask = async (by: Agent): Promise<number | string> => {
    const request = get(url, { agent: by });
    return new Promise((resolve) => {
      request.once("response", (response) => resolve((response.resume(), response.statusCode ?? 0)));
      request.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "failed"));
    });
  };
  expect(await ask(agent)).toBe(200);
  // Nobody has told Node's agent about SPIFFE: it must not come in by what ours has proved.
  expect(typeof (await ask(new Agent()))).toBe("string");
});
