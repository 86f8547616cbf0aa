// SPDX-License-Identifier: Apache-2.0
/** WebSockets of an agent: with the credential it does not have, guarded in both directions, and cut with it. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  findSecrets,
  newMarkedSecret,
  startPostern,
  startStandIns,
  type Postern,
  type StandIns,
} from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";
import { type AgentSocket, SocketAgent, type Way } from "./run-websocket-agent.ts";

const REALTIME = "/v1/realtime?model=gpt-realtime";
const ECHO = "/v1/realtime?model=stand-in-echo";
/** A machine that is busy with other things takes its time. */
const PATIENT = { timeout: 20_000 };
const WAYS: Way[] = ["base URL", "proxy"];

let standIns: StandIns;
let postern: Postern;
let agent: SocketAgent;
let raw: RunningAgent;

beforeAll(async () => {
  standIns = await startStandIns();
  postern = await startPostern();
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  await postern.apply(standIns.resources({ agents: ["demo-agent", "raw-agent"] }));
  agent = await SocketAgent.start({ folder: postern.folder, agent: "demo-agent" });
  raw = await RunningAgent.start({ folder: postern.folder, agent: "raw-agent" });
});

afterAll(async () => {
  await Promise.all([agent?.stop(), raw?.stop()]);
  await postern?.stop();
  await standIns?.close();
});

beforeEach(() => standIns.openai.forgetRequests());

const key = (): string => standIns.secrets["openai-key"]!;
const stars = (): string => "*".repeat(key().length);

interface Event {
  readonly unmapped: Readonly<Record<string, unknown>>;
}

/** Decision and outcome of one WebSocket, once both are there. */
async function audited(auditId: string): Promise<Event[]> {
  const found: Event[] = [];
  await expect
    .poll(async () => {
      const { stdout } = await postern.postern(["audit", "tail", "--json", "-n", "60"]);
      found.splice(0);
      found.push(
        ...stdout
          .trim()
          .split("\n")
          .filter((line) => line.includes(auditId))
          .map((line) => JSON.parse(line) as Event),
      );
      return found.length;
    }, PATIENT)
    .toBe(2);
  return found;
}

async function greeted(
  path = REALTIME,
  way: Way = "base URL",
): Promise<{ socket: AgentSocket; auditId: string }> {
  const socket = agent.ask(path, { way });
  const { auditId } = await socket.next("open");
  expect(await socket.json()).toMatchObject({ type: "session.created" });
  return { socket, auditId };
}

describe.each(WAYS)("a WebSocket by %s", (way) => {
  it("opens with the credential injected, and carries messages of any kind and size", async () => {
    const { socket } = await greeted(REALTIME, way);
    const record = standIns.openai.sockets.at(-1)!;
    expect(record).toMatchObject({ target: REALTIME, extensions: "" });
    expect(record.headers).toMatchObject({ authorization: `Bearer ${key()}`, host: "api.openai.com" });
    expect(record.headers).not.toHaveProperty("sec-websocket-extensions");
    socket.send('{"type":"response.create"}');
    expect(await socket.json()).toMatchObject({ type: "response.created" });
    let text = "";
    for (let event = await socket.json(); event["type"] !== "response.done"; event = await socket.json())
      text += typeof event["delta"] === "string" ? event["delta"] : "";
    expect(text).toBe("Hello from the stand-in.");
    for (const size of [0, 1, 126, 70_000, 3_000_000]) {
      const bytes = Buffer.alloc(size, "\x00\xff binary");
      socket.send(bytes);
      const back = await socket.next("message");
      expect([back.isBinary, Buffer.from(back.bytes, "base64").equals(bytes)]).toEqual([true, true]);
    }
    socket.send("in ", false);
    socket.send("two ü", true);
    expect(await socket.text()).toBe("in two ü");
    socket.say({ do: "ping", id: socket.id, bytes: Buffer.from("p").toString("base64") });
    expect(Buffer.from((await socket.next("pong")).bytes, "base64").toString()).toBe("p");
    socket.say({ do: "close", id: socket.id, code: 3000, reason: "done" });
    expect(await socket.next("closed")).toMatchObject({ code: 3000, reason: "done" });
    await expect.poll(() => record.closed, PATIENT).toMatchObject({ code: 3000, reason: "done" });
  });

  it("gives a reflected credential back masked: in text, binary, fragments, a ping, and the reason at the end", async () => {
    const { socket, auditId } = await greeted(ECHO, way);
    expect(await socket.json()).toEqual({ type: "error", error: { message: `bad key ${stars()}` } });
    expect(await socket.text()).toMatch(/^binary \*+ .{0,8}\*+.{0,4}$/);
    expect(await socket.text()).toBe(stars());
    expect(Buffer.from((await socket.next("ping")).bytes, "base64").toString()).toBe(stars());
    socket.send("bye");
    expect(await socket.next("closed")).toMatchObject({ code: 4000, reason: `bad key ${stars()}` });
    expect(findSecrets("agent", JSON.stringify(socket.heard), standIns.secrets)).toEqual([]);
    const [decision, outcome] = await audited(auditId);
    expect(decision!.unmapped).toMatchObject({ operation: "realtime", model: "stand-in-echo" });
    expect(outcome!.unmapped).toMatchObject({ ended: "complete", scrubbed: 6 });
  });

  it("is refused as a problem before it opens, where no policy allows the model", async () => {
    const socket = agent.ask("/v1/realtime?model=gpt-5", { way });
    const { status, body } = await socket.next("refused");
    expect([status, JSON.parse(body)]).toMatchObject([403, { code: "access_denied" }]);
    const twice = agent.ask(`${REALTIME}&Model=gpt-5`, { way });
    expect((await twice.next("refused")).status).toBe(400);
    const none = agent.ask("/v1/realtime", { way });
    expect((await none.next("refused")).status).toBe(403);
    expect(standIns.openai.requests).toEqual([]);
  });

  it("ends at once on both sides when its agent is cut", async () => {
    const { socket, auditId } = await greeted(REALTIME, way);
    const record = standIns.openai.sockets.at(-1)!;
    const { stdout } = await postern.postern(["cut", "demo-agent", "--json"]);
    const returned = Date.now();
    try {
      expect(JSON.parse(stdout)).toMatchObject({ ended: 1 });
      expect(await socket.next("closed")).toMatchObject({ code: 1006 });
      await expect.poll(() => record.closed, PATIENT).toMatchObject({ code: 1006 });
      expect(record.closed!.at - returned).toBeLessThan(1000);
      const { status, body } = await agent.ask(REALTIME, { way }).next("refused");
      expect([status, JSON.parse(body)]).toMatchObject([403, { code: "agent_quarantined" }]);
    } finally {
      await postern.postern(["restore", "demo-agent"]);
    }
    const [, outcome] = await audited(auditId);
    expect(outcome!.unmapped).toMatchObject({ ended: "cut" });
  });
});

describe("what an agent sends", () => {
  it.each<[string, (socket: AgentSocket) => void]>([
    [
      "a secret of the vault in text",
      (socket) => socket.send(`{"note":"${standIns.secrets["gemini-key"]}"}`),
    ],
    [
      "a secret in binary, as base64",
      (socket) => socket.send(Buffer.from(Buffer.from(`x${key()}`).toString("base64"))),
    ],
    [
      "a secret in fragments",
      (socket) => {
        for (const character of key().slice(0, -1)) socket.send(character, false);
        socket.send(key().slice(-1), true);
      },
    ],
    [
      "a secret in a ping",
      (socket) => socket.say({ do: "ping", id: socket.id, bytes: Buffer.from(key()).toString("base64") }),
    ],
    ["a placeholder", (socket) => socket.send("sk-proj-PosternPlaceholder0000")],
  ])("ends the WebSocket where it is %s, and nothing of it arrives", async (_name, send) => {
    const { socket, auditId } = await greeted();
    const record = standIns.openai.sockets.at(-1)!;
    send(socket);
    const closed = await socket.next("closed");
    expect(closed).toMatchObject({ code: 1008, reason: expect.stringMatching(/would leave in a message$/) });
    await expect.poll(() => record.closed, PATIENT).toMatchObject({ code: 1001, reason: "" });
    expect(record.messages).toEqual([]);
    const [, outcome] = await audited(auditId);
    expect(outcome!.unmapped).toMatchObject({ ended: "refused", code: "content_refused" });
  });

  it("never takes a credential along in a subprotocol or a header, and the rest of them it does", async () => {
    const socket = await agent.open(REALTIME, {
      protocols: [
        "realtime",
        "openai-insecure-api-key.sk-proj-PosternPlaceholder0000",
        "openai-beta.realtime-v1",
      ],
      headers: { Authorization: "Bearer sk-other", Cookie: "a=b", "OpenAI-Beta": "realtime=v1" },
    });
    const record = standIns.openai.sockets.at(-1)!;
    expect(record.offered).toEqual(["realtime", "openai-beta.realtime-v1"]);
    expect(record.headers).toMatchObject({ authorization: `Bearer ${key()}`, "openai-beta": "realtime=v1" });
    expect(record.headers).not.toHaveProperty("cookie");
    expect(socket.heard[0]).toMatchObject({ protocol: "realtime" });
    socket.say({ do: "vanish", id: socket.id });
    await expect.poll(() => record.closed, PATIENT).toMatchObject({ code: 1001 });
  });
});

describe("what changes while a WebSocket is open", () => {
  it("a secret that is set is looked for from then on", async () => {
    const { socket } = await greeted();
    const fresh = newMarkedSecret("fresh-");
    socket.send(fresh);
    expect(await socket.text()).toBe(fresh);
    await postern.setSecret("fresh", fresh);
    socket.send(fresh);
    expect(await socket.next("closed")).toMatchObject({ code: 1008 });
  });

  it("a policy that is taken away ends it with the next message", async () => {
    const { socket, auditId } = await greeted();
    const resources = standIns.resources({ agents: ["demo-agent", "raw-agent"] });
    await postern.apply(resources.replaceAll('"gpt-realtime",', ""));
    try {
      socket.send("still there?");
      expect(await socket.next("closed")).toMatchObject({ code: 1008 });
      const [, outcome] = await audited(auditId);
      expect(outcome!.unmapped).toMatchObject({ ended: "cut" });
    } finally {
      await postern.apply(resources);
    }
  });
});

describe("a handshake", () => {
  const handshake = (more: string, target = REALTIME): string =>
    `GET /openai${target} HTTP/1.1\r\nHost: ${raw.authority}\r\nConnection: Upgrade\r\n${more}\r\n`;
  const KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

  it.each([
    ["h2c", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n", 501, "upgrade_unsupported"],
    [
      "an old version",
      `Upgrade: websocket\r\nSec-WebSocket-Version: 8\r\n${KEY}`,
      501,
      "upgrade_unsupported",
    ],
    ["no key", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", 400, "request_malformed"],
    [
      "a body",
      `Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n${KEY}Content-Length: 2\r\n\r\nhi`,
      400,
      "request_malformed",
    ],
  ])("is refused with %s", async (_name, more, status, code) => {
    expect(await raw.send(handshake(more))).toMatchObject({ status, code });
    expect(standIns.openai.requests).toEqual([]);
  });

  it("that the upstream does not agree to is answered as the upstream answers", async () => {
    await postern.apply(
      standIns
        .resources({ agents: ["demo-agent", "raw-agent"] })
        .replace(/(name: agents-may-use-openai[^]*?allow: ).*/, "$1{ everything: true }"),
    );
    try {
      const answer = await raw.send(
        handshake(`Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n${KEY}`, "/v1/nothing"),
      );
      expect(answer.status).toBe(404);
      expect(answer.body.toString()).toContain("Invalid URL");
    } finally {
      await postern.apply(standIns.resources({ agents: ["demo-agent", "raw-agent"] }));
    }
  });

  it("is answered for the agent's own key, and frames behind it are not lost", async () => {
    const connection = raw.connect();
    const frame = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]);
    connection.write(
      Buffer.concat([
        Buffer.from(handshake(`Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n${KEY}`)),
        frame,
      ]),
    );
    const received = await connection.until((bytes) => bytes.toString("latin1").endsWith("\x81\x02hi"));
    expect(received.toString("latin1")).toMatch(/^HTTP\/1\.1 101 /);
    expect(received.toString("latin1")).toMatch(/sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/i);
    connection.write(Buffer.from([0xc1, 0x80, 0, 0, 0, 0]));
    await connection.closed();
    await expect.poll(() => standIns.openai.sockets.at(-1)!.closed, PATIENT).toMatchObject({ code: 1001 });
  });
});
