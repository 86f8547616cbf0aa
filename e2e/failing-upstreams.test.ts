// SPDX-License-Identifier: Apache-2.0
/** Upstreams that fail in every way: a named error, an entry in the log, and nobody else hears of it. */
import { createServer, type AddressInfo, type Server } from "node:net";
import { readFileSync } from "node:fs";
import type { TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createTestAuthority,
  findSecrets,
  newMarkedSecret,
  startPostern,
  type Postern,
  type TestAuthority,
} from "@postern/testkit";
import { ask } from "./control-socket.ts";
import type { Answer } from "./http-answer.ts";
import { type Manner, type RudeUpstream, startRudeUpstream } from "./rude-upstream.ts";
import { type AgentConnection, RunningAgent } from "./run-agent.ts";

const DAY = 86_400_000;
const secret = newMarkedSecret("rude-");
/** Far more than any limit, and quickly made. */
const ENDLESS = 64 * 1024 * 1024;

let authority: TestAuthority;
let rude: RudeUpstream;
let silent: Server;
let postern: Postern;
let agent: RunningAgent;
let neighbour: RunningAgent;
const others: RudeUpstream[] = [];
/** Everything that an agent got, to be searched at the end. */
const got: Buffer[] = [];

const OK = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
const plain = (text: string): string => `${OK}Content-Length: ${text.length}\r\n\r\n${text}`;
const send =
  (text: string): Manner =>
  (socket) =>
    void socket.write(text, "latin1");
const credentialIn = (head: string): string => /^authorization: Bearer (.*)$/im.exec(head)?.[1] ?? "";

/** Writes as long as somebody listens, up to `ENDLESS` bytes. */
function endlessly(socket: TLSSocket, first: string, piece: string): void {
  let sent = 0;
  const more = (): void => {
    while (!socket.destroyed && sent < ENDLESS) {
      sent += piece.length;
      if (!socket.write(piece, "latin1")) return void socket.once("drain", more);
    }
  };
  socket.write(first, "latin1");
  more();
}

let closedUnasked = 0;

const MANNERS: Record<string, Manner> = {
  fine: (socket, head) => void socket.write(plain(head.split(" ")[1]!)),
  "ends-at-once": (socket) => void socket.end(),
  "resets-at-once": (_socket, _head, raw) => void raw.resetAndDestroy(),
  "ends-in-head": (socket) => void socket.end("HTTP/1.1 200 OK\r\nContent-Le"),
  "resets-in-head": (socket, _head, raw) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Le");
    setTimeout(() => raw.resetAndDestroy(), 50);
  },
  "resets-in-body": (socket, _head, raw) => {
    socket.write(`${OK}Content-Length: 100\r\n\r\nhalf\n`);
    setTimeout(() => raw.resetAndDestroy(), 50);
  },
  "shorter-than-said": (socket) => void socket.end(`${OK}Content-Length: 100\r\n\r\nhalf`),
  "ends-in-chunk": (socket) => void socket.end(`${OK}Transfer-Encoding: chunked\r\n\r\n64\r\nhalf`),
  "ends-between-chunks": (socket) =>
    void socket.end(`${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhalf\n\r\n`),
  "longer-than-said": send(
    `${OK}Content-Length: 4\r\n\r\nfourHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged`,
  ),
  "answers-twice": send(plain("first") + plain("forged")),
  "answers-unasked": (socket) => {
    socket.once("close", () => closedUnasked++);
    socket.write(plain("first"));
    setTimeout(() => socket.write(plain("forged")), 30);
  },
  "no-content-with-body": send(`HTTP/1.1 204 No Content\r\n\r\n${plain("forged")}`),
  "not-modified-with-body": send(`HTTP/1.1 304 Not Modified\r\nContent-Length: 40\r\n\r\n${plain("forged")}`),
  "endless-headers": (socket) => endlessly(socket, "HTTP/1.1 200 OK\r\n", `x-more: ${"y".repeat(1000)}\r\n`),
  "endless-header": (socket) => endlessly(socket, "HTTP/1.1 200 OK\r\nx-long: ", "y".repeat(4096)),
  "endless-status-line": (socket) => endlessly(socket, "HTTP/1.1 200 ", "y".repeat(4096)),
  "endless-interim": (socket) =>
    endlessly(socket, "", "HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n".repeat(20)),
  "endless-extension": (socket) =>
    endlessly(socket, `${OK}Transfer-Encoding: chunked\r\n\r\n4;ext=`, "y".repeat(4096)),
  "endless-trailers": (socket) =>
    endlessly(
      socket,
      `${OK}Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n`,
      `x-more: ${"y".repeat(1000)}\r\n`,
    ),
  "chunk-size-not-hex": send(`${OK}Transfer-Encoding: chunked\r\n\r\nxyz\r\nhalf\r\n0\r\n\r\n`),
  "chunk-size-too-large": send(`${OK}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhalf`),
  "chunk-size-negative": send(`${OK}Transfer-Encoding: chunked\r\n\r\n-4\r\nhalf\r\n0\r\n\r\n`),
  "chunk-longer-than-said": send(`${OK}Transfer-Encoding: chunked\r\n\r\n4\r\nhalfmore\r\n0\r\n\r\n`),
  "two-lengths": send(`${OK}Content-Length: 4\r\nContent-Length: 10\r\n\r\nfour${plain("forged")}`),
  "length-and-chunked": send(
    `${OK}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${plain("forged")}`,
  ),
  "length-not-a-number": send(`${OK}Content-Length: 4x\r\n\r\nfour`),
  "space-before-colon": send(`HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\nfour`),
  "no-colon": send("HTTP/1.1 200 OK\r\nnothing\r\n\r\n"),
  "nul-in-header": send(`${OK}x-nul: a\0b\r\nContent-Length: 4\r\n\r\nfour`),
  "garbage-status-line": send("ICE/9.9 all is well\r\nContent-Length: 4\r\n\r\nfour"),
  "status-not-a-number": send("HTTP/1.1 2xx OK\r\nContent-Length: 4\r\n\r\nfour"),
  "another-version": send("HTTP/2.0 200 OK\r\nContent-Length: 4\r\n\r\nfour"),
  "without-a-head": (socket) => void socket.end("<html>as in HTTP/0.9</html>"),
  "secret-for-a-head": (socket, head) => void socket.end(`${credentialIn(head)}\r\n\r\n`),
  "secret-for-a-status": (socket, head) => void socket.end(`HTTP/1.1 ${credentialIn(head)} OK\r\n\r\n`),
  "secret-for-a-chunk-size": (socket, head) =>
    void socket.end(`${OK}Transfer-Encoding: chunked\r\n\r\n${credentialIn(head)}\r\n`),
  "switches-unasked": send(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
  ),
  "answers-before-the-body": (socket) => {
    socket.on("data", () => {}); // The body: no request, whatever it looks like.
    socket.write(plain("early"));
  },
  drips: (socket) => {
    const bytes = plain("slow");
    for (let at = 0; at < bytes.length; at++) setTimeout(() => socket.write(bytes[at]!), at * 8);
  },
  "says-nothing": () => {},
  "says-half-a-head": send("HTTP/1.1 200 OK\r\nContent-Le"),
  "thinks-and-says": (socket) =>
    void setInterval(() => socket.write("HTTP/1.1 103 Early Hints\r\n\r\n"), 100).unref(),
  "falls-silent": send(`${OK}Content-Length: 100\r\n\r\nhalf\n`),
  "falls-silent-in-chunks": send(`${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhalf\n\r\n`),
  "ends-without-farewell": (socket, _head, raw) => {
    socket.write(`${OK}Connection: close\r\n\r\nuntil here`);
    setTimeout(() => raw.end(), 50); // TCP ends, and TLS has sent no close_notify.
  },
  "ends-the-body": (socket) => void socket.end(`${OK}Connection: close\r\n\r\nuntil the end`),
};

beforeAll(async () => {
  authority = await createTestAuthority();
  rude = await startRudeUpstream(await authority.issue(["rude.example"]), MANNERS);
  const past = { notBefore: new Date(Date.now() - 2 * DAY), notAfter: new Date(Date.now() - DAY) };
  const future = { notBefore: new Date(Date.now() + DAY), notAfter: new Date(Date.now() + 2 * DAY) };
  const foreign = await createTestAuthority("Somebody else");
  for (const certificate of [
    await authority.issue(["expired.example"], past),
    await authority.issue(["early.example"], future),
    await authority.issue(["other.example"]),
    await foreign.issue(["foreign.example"]),
  ])
    others.push(await startRudeUpstream(certificate, MANNERS));
  silent = createServer((socket) => void socket.on("error", () => {}));
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  postern = await startPostern({ args: ["--answer-timeout", "2", "--silence-timeout", "1"] });
  await postern.setSecret("rude-secret", secret);
  await postern.apply(resources());
  const start = (name: string) => RunningAgent.start({ folder: postern.folder, agent: name });
  [agent, neighbour] = await Promise.all([start("first-agent"), start("second-agent")]);
});

afterAll(async () => {
  await Promise.all([agent?.stop(), neighbour?.stop()]);
  await postern?.stop();
  await Promise.all([rude, ...others].map((upstream) => upstream?.close()));
  silent?.close();
});

function resources(): string {
  const closed = 1; // Nobody listens on port 1 (tcpmux).
  const ports: Record<string, number> = {
    rude: rude.port,
    expired: others[0]!.port,
    early: others[1]!.port,
    misnamed: others[2]!.port,
    foreign: others[3]!.port,
    silent: (silent.address() as AddressInfo).port,
    refusing: closed,
  };
  const workload = (name: string, port: number) => `\
kind: ServerWorkload
metadata: { name: ${name} }
spec:
  profile: http
  hosts: [${name}.example]
  injection: { kind: bearer }
  connectTo: { address: 127.0.0.1, port: ${port} }
  allowedNetworks: [127.0.0.0/8]
  caCertificates: |
${authority.certificate.trimEnd().replaceAll(/^/gm, "    ")}
---
kind: AccessPolicy
metadata: { name: all-may-use-${name} }
spec: { agents: [first-agent, second-agent], serverWorkload: ${name}, credentialProvider: rude-credential, allow: { everything: true } }
`;
  const agentYaml = (name: string) =>
    `kind: Agent\nmetadata: { name: ${name} }\nspec: { trustProvider: local, selectors: ["process:agent=${name}"] }\n`;
  return [
    "kind: TrustProvider\nmetadata: { name: local }\nspec: { kind: process }\n",
    agentYaml("first-agent"),
    agentYaml("second-agent"),
    ...Object.entries(ports).map(([name, port]) => workload(name, port)),
    `kind: CredentialProvider\nmetadata: { name: rude-credential }\nspec: { kind: vault, secret: rude-secret, serverWorkloads: ${JSON.stringify(Object.keys(ports))} }\n`,
  ].join("---\n");
}

const get = (path: string, by = agent): string => `GET ${path} HTTP/1.1\r\nHost: ${by.authority}\r\n\r\n`;

let count = 0;
/** Both agents can go on, each with an answer of its own. */
async function expectAllIsWell(connection?: AgentConnection): Promise<void> {
  const path = `/fine/${++count}`;
  if (connection !== undefined && !connection.isClosed) {
    connection.write(get(`/rude${path}`));
    expect((await connection.answer()).body.toString()).toBe(path);
  }
  const [own, other] = await Promise.all([
    agent.send(get(`/rude${path}`)),
    neighbour.send(get(`/rude${path}`, neighbour)),
  ]);
  expect([own.status, own.body.toString()]).toEqual([200, path]);
  expect([other.status, other.body.toString()]).toEqual([200, path]);
}

interface Logged {
  readonly metadata: { readonly uid: string };
  readonly status_code?: string;
  readonly unmapped: Readonly<Record<string, unknown>>;
}

/** How the log says that this decision ended; it is written after the answer. */
async function outcomeOf(answer: Answer | string): Promise<Record<string, unknown>> {
  const id = typeof answer === "string" ? answer : answer.headers["postern-audit-id"];
  let found: Logged | undefined;
  await expect
    .poll(async () => {
      const { body } = await ask(postern.folder, "GET", "/v1/audit/events?lines=40");
      found = body
        .toString("utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Logged)
        .find(({ unmapped }) => unmapped["kind"] === "outcome" && unmapped["decision_id"] === id);
      return found;
    })
    .toBeDefined();
  return found!.unmapped;
}

const memoryMb = (): number =>
  Number(/^VmRSS:\s*(\d+) kB/m.exec(readFileSync(`/proc/${postern.server.pid}/status`, "utf8"))![1]) / 1024;

/** The answer as far as it came; undefined where it has no head or no end. */
async function call(path: string, connection = agent.connect()) {
  connection.write(get(path));
  let answer: Answer | undefined;
  try {
    answer = await connection.answer();
  } catch {
    // It ended before the answer was whole.
  }
  const bytes = Buffer.concat([answer?.body ?? Buffer.alloc(0), connection.received]);
  got.push(bytes, Buffer.from(JSON.stringify(answer?.headers ?? {})));
  return { answer, bytes, connection };
}

describe("an upstream that answers properly", () => {
  it.each<[string, string]>([
    ["fine", "/fine/x"],
    ["ends-the-body", "until the end"],
    ["drips", "slow"],
    // Cannot be told from a cut: an honest limit in SECURITY.md.
    ["ends-without-farewell", "until here"],
  ])("passes, so that the refusals below mean something: %s", async (manner, body) => {
    const { answer, connection } = await call(`/rude/${manner}/x`);
    expect(answer).toMatchObject({ status: 200, code: undefined });
    expect(answer!.body.toString()).toBe(body);
    expect(await outcomeOf(answer!)).toMatchObject({ ended: "complete" });
    await expectAllIsWell(connection);
  });
});

describe("an answer whose head is broken is refused with upstream_failed:", () => {
  it.each([
    ...["ends-at-once", "resets-at-once", "ends-in-head", "resets-in-head"],
    ...["garbage-status-line", "status-not-a-number", "another-version", "without-a-head"],
    ...["endless-headers", "endless-header", "endless-status-line", "endless-interim"],
    ...["two-lengths", "length-and-chunked", "length-not-a-number", "space-before-colon", "no-colon"],
    ...["nul-in-header", "switches-unasked", "secret-for-a-head", "secret-for-a-status"],
  ])("%s", async (manner) => {
    const before = memoryMb();
    const { answer, connection } = await call(`/rude/${manner}/x`);
    expect(answer).toMatchObject({ status: 502, code: "upstream_failed" });
    expect(answer!.headers["proxy-status"]).toContain("error=http_protocol_error");
    expect(await outcomeOf(answer!)).toMatchObject({ ended: "refused", code: "upstream_failed" });
    expect(memoryMb() - before).toBeLessThan(100);
    await expectAllIsWell(connection);
  });
});

describe("an answer whose body breaks off has no end for the agent either:", () => {
  it.each([
    ...["resets-in-body", "shorter-than-said", "ends-in-chunk", "ends-between-chunks"],
    ...["chunk-size-not-hex", "chunk-size-too-large", "chunk-size-negative", "chunk-longer-than-said"],
    ...["endless-extension", "endless-trailers", "secret-for-a-chunk-size"],
  ])("%s", async (manner) => {
    const before = memoryMb();
    const { answer, bytes, connection } = await call(`/rude/${manner}/x`);
    // Where nothing of the body had come yet, it may also be refused as a whole.
    if (answer !== undefined) expect(answer).toMatchObject({ status: 502, code: "upstream_failed" });
    else {
      expect(bytes.toString("latin1")).toMatch(/^HTTP\/1\.1 200 /);
      expect(bytes.toString("latin1")).not.toMatch(/0\r\n\r\n$/);
      expect(connection.isClosed).toBe(true);
    }
    const id =
      answer?.headers["postern-audit-id"] ?? /postern-audit-id: (\S+)/i.exec(bytes.toString("latin1"))![1]!;
    expect(await outcomeOf(id)).toMatchObject(
      answer === undefined ? { ended: "upstream_failed" } : { ended: "refused", code: "upstream_failed" },
    );
    expect(memoryMb() - before).toBeLessThan(100);
    await expectAllIsWell(connection);
  });
});

describe("an upstream that takes too long", () => {
  // "thinks-and-says" counts on: interim answers are no answer, however many there are.
  it.each(["says-nothing", "says-half-a-head", "thinks-and-says"])(
    "before its answer is refused with upstream_timeout: %s",
    async (manner) => {
      const waiting = call(`/rude/${manner}/x`);
      await expectAllIsWell();
      const { answer, connection } = await waiting;
      expect(answer).toMatchObject({ status: 504, code: "upstream_timeout" });
      expect(await outcomeOf(answer!)).toMatchObject({ ended: "refused", code: "upstream_timeout" });
      await expectAllIsWell(connection);
    },
  );

  it.each(["falls-silent", "falls-silent-in-chunks"])(
    "within it leaves an answer without an end: %s",
    async (manner) => {
      const { answer, bytes, connection } = await call(`/rude/${manner}/x`);
      expect(answer).toBeUndefined();
      expect(bytes.toString("latin1")).toMatch(/^HTTP\/1\.1 200 [^]*half/);
      expect(connection.isClosed).toBe(true);
      const id = /postern-audit-id: (\S+)/i.exec(bytes.toString("latin1"))![1]!;
      expect(await outcomeOf(id)).toMatchObject({ ended: "upstream_failed" });
      await expectAllIsWell();
    },
  );
});

describe("bytes behind an answer are nobody's answer:", () => {
  it.each<[string, number, string]>([
    ["longer-than-said", 200, "four"],
    ["answers-twice", 200, "first"],
    ["no-content-with-body", 204, ""],
    ["not-modified-with-body", 304, ""],
  ])("%s", async (manner, status, body) => {
    for (let round = 0; round < 3; round++) {
      const connection = agent.connect();
      connection.write(get(`/rude/${manner}/x`));
      const wanted = status === 200 ? body : "\r\n\r\n";
      const bytes = (await connection.until((received) => received.includes(wanted))).toString("latin1");
      expect(bytes).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
      expect(bytes).not.toContain("forged");
      connection.destroy();
      await expectAllIsWell();
    }
  });

  it("an answer that nobody asked for ends the connection to the upstream, before another request is sent on it", async () => {
    const { answer } = await call("/rude/answers-unasked/x");
    expect(answer!.body.toString()).toBe("first");
    // Sooner than an idle connection is closed for its age.
    await expect.poll(() => closedUnasked, { timeout: 2000 }).toBe(1);
    await expectAllIsWell();
  });

  it("an answer that comes before the request was read is passed on, and the rest of the request is no new one", async () => {
    const connection = agent.connect();
    const size = 4 * 1024 * 1024;
    connection.write(
      `POST /rude/answers-before-the-body/x HTTP/1.1\r\nHost: ${agent.authority}\r\nContent-Type: application/octet-stream\r\nContent-Length: ${size}\r\n\r\n`,
    );
    connection.write("GET /fine/smuggled HTTP/1.1\r\nHost: rude.example\r\n\r\n".repeat(1000));
    const bytes = await connection.until((received) => received.includes("early"));
    expect(bytes.toString("latin1")).toMatch(/^HTTP\/1\.1 200 /);
    connection.destroy();
    await expectAllIsWell();
    expect(rude.requests.filter((line) => line.includes("smuggled"))).toEqual([]);
  });
});

describe("an upstream that is not reached", () => {
  it.each(["refusing", "expired", "early", "misnamed", "foreign"])(
    "is refused with upstream_unreachable, and gets no request: %s",
    async (name) => {
      const { answer, connection } = await call(`/${name}/fine/x`);
      expect(answer).toMatchObject({ status: 502, code: "upstream_unreachable" });
      expect(await outcomeOf(answer!)).toMatchObject({ ended: "refused", code: "upstream_unreachable" });
      expect(others.flatMap(({ requests }) => requests)).toEqual([]);
      await expectAllIsWell(connection);
    },
  );

  it("is refused with upstream_timeout where it accepts and does not begin TLS", async () => {
    const connection = agent.connect();
    connection.write(get("/silent/fine/x"));
    // Nobody waits for the one that waits.
    await expectAllIsWell();
    const answer = await connection.answer();
    expect(answer).toMatchObject({ status: 504, code: "upstream_timeout" });
    expect(await outcomeOf(answer)).toMatchObject({ ended: "refused", code: "upstream_timeout" });
    await expectAllIsWell(connection);
  });
});

describe("after all this", () => {
  it("no agent and no log holds the secret, and no connection is left open to the agent's loss", async () => {
    const secrets = { "rude-secret": secret };
    expect(findSecrets("planted", Buffer.from(`x${secret}`).toString("base64"), secrets)).not.toEqual([]);
    expect(findSecrets("answers", Buffer.concat(got), secrets)).toEqual([]);
    expect(findSecrets("log", postern.log, secrets)).toEqual([]);
    const { stdout } = await postern.postern(["audit", "tail", "--json", "--lines", "1000"]);
    expect(findSecrets("audit", stdout, secrets)).toEqual([]);
    expect((await postern.postern(["status"])).code).toBe(0);
  });
});
