// SPDX-License-Identifier: Apache-2.0
/** What comes back from an upstream, honest or hostile: nothing of the secret, at once, and never without bound. */
import { readFileSync } from "node:fs";
import { once } from "node:events";
import { createServer, type Server } from "node:https";
import { connect as connectTls } from "node:tls";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  findSecrets,
  newMarkedSecret,
  startPostern,
  startStandIns,
  type Misbehaviour,
  type Postern,
  type StandIns,
} from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

const EVENT_INTERVAL = 40;
const FLOOD_BYTES = 500 * 1024 * 1024;

let standIns: StandIns;
let postern: Postern;
let agent: RunningAgent;
let raw: Server;
const brandNew = newMarkedSecret("brand-new-");
/** Bytes that the raw upstream has handed to its sockets. */
let flooded = 0;

beforeAll(async () => {
  standIns = await startStandIns({ endlessInterval: EVENT_INTERVAL });
  const { certificate, privateKey } = await standIns.authority.issue(["raw.example"]);
  raw = createServer({ cert: certificate, key: privateKey }, (request, response) => {
    const url = new URL(request.url!, "https://raw.example");
    // Another secret of the vault, which this upstream was never given by the gateway.
    const name = url.searchParams.get("other") ?? "";
    const other = name === "brand-new" ? brandNew : standIns.secrets[name];
    const secret = other ?? request.headers.authorization ?? "";
    if (url.pathname === "/everywhere") return everywhere(secret, response);
    if (url.pathname === "/part") {
      const isPart = url.searchParams.has("always") || request.headers.range !== undefined;
      response.writeHead(isPart ? 206 : 200, { "content-type": "text/plain" });
      return void response.end(isPart ? secret.slice(0, 20) : "the whole");
    }
    if (url.pathname === "/flood") return flood(response);
    if (url.pathname === "/upload") return void request.resume().once("end", () => response.end("taken"));
    if (url.pathname === "/empty") {
      response.writeHead(Number(url.searchParams.get("status")), { "content-encoding": "gzip" });
      return void response.end();
    }
    const encoding = url.searchParams.get("encoding")!;
    const encode = {
      gzip: gzipSync,
      "x-gzip": gzipSync,
      br: brotliCompressSync,
      zstd: zstdCompressSync,
      deflate: deflateSync,
    }[encoding];
    const text = Buffer.from(JSON.stringify({ secret, base64: Buffer.from(secret).toString("base64") }));
    const body = encode === undefined ? text : encode(text);
    response.writeHead(200, {
      "content-type": "application/json",
      "content-encoding": encoding,
      "postern-audit-id": "forged",
      "proxy-status": "forged",
      "set-cookie": `session=${secret}`,
      [`x-${secret.replace("Bearer ", "")}`]: "name",
      "www-authenticate": `Bearer realm="${secret}"`,
    });
    response.end(url.searchParams.has("cut") ? body.subarray(0, -6) : body);
  });
  await new Promise<void>((resolve) => raw.listen(0, "127.0.0.1", resolve));
  postern = await startPostern();
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  await postern.apply(standIns.resources() + rawResources());
  agent = await RunningAgent.start({ folder: postern.folder, agent: "demo-agent" });
});

afterAll(async () => {
  await agent?.stop();
  await postern?.stop();
  await standIns?.close();
  raw?.closeAllConnections();
  raw?.close();
});

beforeEach(() => standIns.openai.forgetRequests());

const rawResources = () => `---
kind: ServerWorkload
metadata: { name: raw }
spec:
  profile: http
  hosts: [raw.example]
  injection: { kind: bearer }
  connectTo: { address: 127.0.0.1, port: ${(raw.address() as AddressInfo).port} }
  allowedNetworks: [127.0.0.0/8]
  caCertificates: |
${standIns.authority.certificate.trimEnd().replaceAll(/^/gm, "    ")}
---
kind: CredentialProvider
metadata: { name: raw-credential }
spec: { kind: vault, secret: openai-key, serverWorkloads: [raw] }
---
kind: AccessPolicy
metadata: { name: agents-may-use-raw }
spec: { agents: [demo-agent], serverWorkload: raw, credentialProvider: raw-credential, allow: { everything: true } }
`;

/** In the reason phrase, an early hint, a header, trailers, and the body in every spelling. */
function everywhere(secret: string, response: import("node:http").ServerResponse): void {
  const bytes = Buffer.from(secret);
  response.writeEarlyHints({ link: `<https://x.example/${secret}>; rel=preload` });
  response.writeHead(200, `OK ${secret}`, {
    "content-type": "text/plain",
    trailer: "x-end",
    location: `https://x.example/?key=${encodeURIComponent(secret)}`,
    [`x-${secret}`]: "name",
  });
  const spellings = [
    ...[secret, bytes.toString("hex"), bytes.toString("hex").toUpperCase(), encodeURIComponent(secret)],
    ...["", "a", "ab"].flatMap((before) => [
      Buffer.from(before + secret).toString("base64"),
      Buffer.from(before + secret).toString("base64url"),
    ]),
    JSON.stringify({ secret }),
  ];
  for (const piece of spellings.join("\n").match(/.{1,7}/gs)!) response.write(piece);
  response.addTrailers({ "x-end": secret });
  response.end();
}

function flood(response: import("node:http").ServerResponse): void {
  response.writeHead(200, { "content-type": "application/octet-stream" });
  const piece = Buffer.alloc(1024 * 1024, "x");
  const more = (): void => {
    while (flooded < FLOOD_BYTES && !response.destroyed) {
      flooded += piece.length;
      if (!response.write(piece)) return void response.once("drain", more);
    }
    response.end();
  };
  more();
}

function chat(model: string, more: Record<string, unknown> = {}): string {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "hi" }], ...more });
  return `POST /openai/v1/chat/completions HTTP/1.1\r\nHost: ${agent.authority}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: ${agent.authority}\r\n\r\n`;

const openEndless = async () => {
  const connection = agent.connect();
  connection.write(chat("stand-in-endless"));
  await connection.until((bytes) => bytes.includes("data: "));
  return connection;
};

describe("a secret that an upstream sends back", () => {
  it.each<Misbehaviour>(["echo", "echo-split", "echo-stream", "echo-gzip", "echo-error"])(
    "does not come through: %s",
    async (mode) => {
      const connection = agent.connect();
      connection.write(chat(`stand-in-${mode}`));
      const answer = await connection.answer();
      expect([200, 400]).toContain(answer.status);
      expect(standIns.openai.requests).toHaveLength(1);
      expect(answer.body.toString()).toContain("*".repeat(20));
      expect(
        findSecrets(
          "the answer",
          JSON.stringify(answer.headers) + answer.body.toString("latin1"),
          standIns.secrets,
        ),
      ).toEqual([]);
      connection.destroy();
    },
  );

  it.each(["gzip", "x-gzip", "br", "zstd", "deflate", "identity"])(
    "does not come through in %s, nor in headers",
    async (encoding) => {
      const answer = await agent.send(get(`/raw/reflect?encoding=${encoding}`));
      expect(answer.status).toBe(200);
      expect(answer.body.toString()).toMatch(/^\{"secret":"Bearer \*+","base64":"[^"]*\*{20,}[^"]*"\}$/);
      expect(answer.headers).not.toHaveProperty("set-cookie");
      expect(answer.headers["proxy-status"]).toBe("postern; received-status=200");
      expect(answer.headers["postern-audit-id"]).toMatch(/^[0-9a-f-]{36}$/);
      expect(answer.headers["www-authenticate"]).toMatch(/^Bearer realm="Bearer \*+"$/);
      expect(
        findSecrets(
          "the answer",
          JSON.stringify(answer.headers) + answer.body.toString("latin1"),
          standIns.secrets,
        ),
      ).toEqual([]);
    },
  );

  it.each(["compress", "gzip, gzip", "GZIP2"])(
    "is not looked for in the unknown encoding %j: the answer is refused",
    async (encoding) => {
      const answer = await agent.send(get(`/raw/reflect?encoding=${encodeURIComponent(encoding)}`));
      expect(answer).toMatchObject({ status: 502, code: "upstream_failed" });
    },
  );

  it("does not come through where the compressed body is cut short, and the answer has no end", async () => {
    const connection = agent.connect();
    connection.write(get("/raw/reflect?encoding=gzip&cut=1"));
    await connection.closed();
    expect(connection.received.toString("latin1").endsWith("0\r\n\r\n")).toBe(false);
    expect(findSecrets("the answer", connection.received, standIns.secrets)).toEqual([]);
  });
});

describe("another secret of the vault", () => {
  it("does not come through either, wherever an upstream puts it", async () => {
    for (const name of Object.keys(standIns.secrets)) {
      const connection = agent.connect();
      connection.write(get(`/raw/everywhere?other=${name}`));
      const all = Buffer.from(await connection.until((bytes) => bytes.includes("\r\n0\r\n\r\n")));
      expect(all.toString()).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      const { body } = await connection.answer();
      expect(body.toString().match(/\*{20,}/g)!.length).toBe(11);
      expect(findSecrets("the answer", Buffer.concat([all, body]), standIns.secrets)).toEqual([]);
      connection.destroy();
    }
  });

  it("is found as soon as it is in the vault, and when a newer version is there", async () => {
    const request = get("/raw/everywhere?other=brand-new");
    expect((await agent.send(request)).body.toString()).toContain(brandNew);
    // An older version may still be valid where it was issued.
    for (const version of [brandNew, newMarkedSecret("brand-new-")]) {
      await postern.setSecret("brand-new", version);
      const { body } = await agent.send(request);
      expect(findSecrets("the answer", body, { brandNew })).toEqual([]);
    }
  });

  it("does not leave with a request, and is not named", async () => {
    const secret = standIns.secrets["anthropic-key"]!;
    const encoded = Buffer.from(`u:${secret}`).toString("base64");
    const upload = `POST /raw/upload HTTP/1.1\r\nHost: ${agent.authority}\r\nTransfer-Encoding: chunked\r\n\r\n`;
    for (const [request, place] of [
      [get(`/raw/reflect?encoding=identity&note=${secret}`), "the query"],
      [get(`/raw/${secret}`), "the path"],
      [
        get("/raw/reflect?encoding=identity").replace("\r\n\r\n", `\r\nX-Note: ${encoded}\r\n\r\n`),
        "the header x-note",
      ],
      [chat("gpt-4o-mini", { user: secret }), "the body"],
      [`${upload}${(secret.length + 1).toString(16)}\r\n ${secret}\r\n0\r\n\r\n`, "the body"],
    ] as const) {
      const answer = await agent.send(request);
      expect(answer).toMatchObject({ status: 403, code: "content_refused" });
      expect(answer.body.toString()).toContain(`a secret of the vault would leave in ${place}`);
      expect(answer.body.toString()).not.toContain("anthropic");
    }
    expect(standIns.openai.requests).toHaveLength(0);
  });

  it("cannot be had in parts", async () => {
    const asked = get("/raw/part").replace("\r\n\r\n", "\r\nRange: bytes=0-19\r\n\r\n");
    const answer = await agent.send(asked);
    expect([answer.status, answer.body.toString()]).toEqual([200, "the whole"]);
    expect(await agent.send(get("/raw/part?always=1"))).toMatchObject({
      status: 502,
      code: "upstream_failed",
    });
  });
});

describe("a redirect", () => {
  it("passes through, and nobody follows it with a credential", async () => {
    const answer = await agent.send(chat("stand-in-redirect"));
    expect(answer).toMatchObject({ status: 307, headers: { location: "https://elsewhere.example/collect" } });
    expect(standIns.openai.requests).toHaveLength(1);
    const followed = await agent.send(
      "CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example:443\r\n\r\n",
    );
    expect(followed).toMatchObject({ status: 403, code: "server_workload_unknown" });
  });
});

describe("an answer without a body", () => {
  it("passes whatever encoding it announces, and leaves the connection open", async () => {
    const connection = agent.connect();
    for (const [method, status] of [
      ["GET", 304],
      ["GET", 204],
      ["HEAD", 200],
    ] as const) {
      connection.write(get(`/raw/empty?status=${status}`).replace("GET", method));
      const head = (await connection.until((bytes) => bytes.includes("\r\n\r\n"))).toString();
      expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      connection.take();
    }
    connection.write(get("/raw/reflect?encoding=identity"));
    expect((await connection.answer()).status).toBe(200);
  });
});

describe("a body that streams to the upstream", () => {
  const upload = (...pieces: string[]): string =>
    `POST /raw/upload HTTP/1.1\r\nHost: ${agent.authority}\r\nTransfer-Encoding: chunked\r\n\r\n${pieces
      .map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`)
      .join("")}0\r\n\r\n`;

  it("is refused where a placeholder is in it, split as it may be", async () => {
    const placeholder = agent.environment["OPENAI_API_KEY"]!;
    expect((await agent.send(upload("a".repeat(100)))).body.toString()).toBe("taken");
    for (const at of [1, 10, 20, 30]) {
      const answer = await agent.send(
        upload("a".repeat(100), placeholder.slice(0, at), placeholder.slice(at), "b"),
      );
      expect(answer).toMatchObject({ status: 403, code: "content_refused" });
    }
    expect((await agent.send(upload("b"))).body.toString()).toBe("taken");
  });
});

describe("a broken upstream", () => {
  it.each<Misbehaviour>(["reset", "half-close"])("ends the answer without an end: %s", async (mode) => {
    const connection = agent.connect();
    connection.write(chat(`stand-in-${mode}`));
    await connection.closed();
    const [head = "", body = ""] = connection.received.toString().split("\r\n\r\n");
    expect(head).toMatch(/^HTTP\/1\.1 200 [^]*content-length: 1000/);
    expect(body.length).toBeLessThan(100);
    // The gateway itself goes on.
    expect((await agent.send(chat("gpt-4o-mini"))).status).toBe(200);
  });
});

describe("a stream", () => {
  it("reaches the agent event by event, long before its end", async () => {
    const connection = await openEndless();
    const first = connection.received.toString().split("data: ").length;
    await connection.until((bytes) => bytes.toString().split("data: ").length >= first + 5);
    expect(standIns.openai.openStreams).toBe(1);
    const sent = standIns.openai.streams.at(-1)!.events;
    // What has been sent is here, but for what is on its way.
    expect(connection.received.toString().split("data: ").length - 1).toBeGreaterThanOrEqual(sent - 2);
    connection.destroy();
    await expect.poll(() => standIns.openai.openStreams).toBe(0);
  });

  it("ends at the upstream when the agent goes away", async () => {
    const connection = await openEndless();
    const stream = standIns.openai.streams.at(-1)!;
    const left = Date.now();
    connection.destroy();
    await expect.poll(() => stream.abortedAt, { interval: 5 }).toBeDefined();
    expect(stream.abortedAt! - left).toBeLessThan(500);
  });

  it("is metered and its end recorded, also where it broke off", async () => {
    await agent.send(chat("gpt-4o-mini", { stream: true, stream_options: { include_usage: true } }));
    const { stdout } = await postern.postern(["audit", "tail", "--json", "-n", "1"]);
    expect(JSON.parse(stdout)).toMatchObject({
      unmapped: { kind: "outcome", ended: "complete", usage: { outputTokens: 5 } },
    });
  });
});

describe("an agent that does not read", () => {
  const serverMemory = (): number => {
    const pid = postern.server.pid;
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024;
  };

  it("stops the upstream instead of filling the server's memory", async () => {
    await agent.send(chat("gpt-4o-mini"));
    const before = serverMemory();
    const connection = agent.connect();
    connection.pause();
    connection.write(get("/raw/flood"));
    await expect.poll(() => flooded, { timeout: 10_000 }).toBeGreaterThan(0);
    // The flood has come to rest when nothing more was taken for a while.
    let last = -1;
    let peak = before;
    while (last !== flooded) {
      last = flooded;
      await delay(400);
      peak = Math.max(peak, serverMemory());
    }
    expect(flooded).toBeLessThan(FLOOD_BYTES / 2);
    expect(peak - before).toBeLessThan(60 * 1024 * 1024);
    process.stderr.write(
      `back-pressure: ${Math.round(flooded / 1e6)} MB taken, RSS +${Math.round((peak - before) / 1e6)} MB\n`,
    );
    connection.destroy();
  });
});

/** The same request straight to the stand-in, over a connection that is kept. */
async function directFirstByte(count: number): Promise<number> {
  const socket = connectTls({
    host: "127.0.0.1",
    port: standIns.openai.port,
    servername: "api.openai.com",
    ca: standIns.authority.certificate,
  });
  await once(socket, "secureConnect");
  const body = JSON.stringify({
    model: "gpt-4o-mini",
    stream: true,
    messages: [{ role: "user", content: "hi" }],
  });
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const asked = performance.now();
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nAuthorization: Bearer ${standIns.secrets["openai-key"]}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    let [bytes] = (await once(socket, "data")) as [Buffer];
    times.push(performance.now() - asked);
    while (!bytes.includes("0\r\n\r\n"))
      bytes = Buffer.concat([bytes, ...((await once(socket, "data")) as [Buffer])]);
  }
  socket.destroy();
  return median(times.slice(10));
}

const median = (times: readonly number[]): number =>
  times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]!;

describe("time to the first byte", () => {
  it("is a few milliseconds longer than without the gateway", async () => {
    const connection = agent.connect();
    const times: number[] = [];
    for (let i = 0; i < 60; i++) {
      const count = standIns.openai.requests.length;
      const asked = performance.timeOrigin + performance.now();
      connection.write(chat("gpt-4o-mini", { stream: true }));
      await connection.until((bytes) => bytes.length > 0);
      times.push(connection.firstByteAt! - asked);
      await connection.answer();
      expect(standIns.openai.requests.length).toBe(count + 1);
    }
    const through = median(times.slice(10));
    const direct = await directFirstByte(60);
    process.stderr.write(
      `first byte: median ${through.toFixed(1)} ms through the gateway (the way to the agent's process included), ${direct.toFixed(1)} ms without\n`,
    );
    expect(through).toBeLessThan(100);
  });
});
