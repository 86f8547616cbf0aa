// SPDX-License-Identifier: Apache-2.0
/** One agent opens thousands of connections and misuses each; its neighbour is served, and the server does not grow. */
import { readdirSync, readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  startPostern,
  startStandIns,
  type Postern,
  type RunningProgram,
  type StandIns,
} from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

const HOSTILE_AGENT = fileURLToPath(new URL("hostile-agent.ts", import.meta.url));

let standIns: StandIns;
let postern: Postern;
let victim: RunningAgent;
let flooding: Server;
const programs: RunningProgram[] = [];

beforeAll(async () => {
  standIns = await startStandIns({ endlessInterval: 1000 });
  const { certificate, privateKey } = await standIns.authority.issue(["flood.example"]);
  flooding = createServer({ cert: certificate, key: privateKey }, (_request, response) => {
    response.writeHead(200, { "content-type": "application/octet-stream" });
    pour(response);
  });
  await new Promise<void>((resolve) => flooding.listen(0, "127.0.0.1", resolve));
  postern = await startPostern();
  await Promise.all(Object.entries(standIns.secrets).map(([name, value]) => postern.setSecret(name, value)));
  await postern.apply(standIns.resources({ agents: ["evil", "victim"] }) + floodResources());
  victim = await RunningAgent.start({ folder: postern.folder, agent: "victim" });
});

afterEach(async () => {
  await Promise.all(programs.splice(0).map((program) => program.stop()));
});

afterAll(async () => {
  await victim?.stop();
  await postern?.stop();
  await standIns?.close();
  flooding?.closeAllConnections();
  flooding?.close();
});

const PIECE = Buffer.alloc(64 * 1024, "x");
/** Bytes that were handed to sockets. */
let poured = 0;
function pour(response: ServerResponse): void {
  if (response.destroyed) return;
  poured += PIECE.length;
  if (response.write(PIECE)) setImmediate(pour, response);
  else response.once("drain", () => pour(response));
}

/** Whether a count stays as it is for a second. */
async function isStill(count: () => number): Promise<boolean> {
  const before = count();
  await delay(1000);
  return count() === before;
}

const floodResources = (): string =>
  [
    "",
    {
      kind: "ServerWorkload",
      metadata: { name: "flood" },
      spec: {
        profile: "http",
        hosts: ["flood.example"],
        injection: { kind: "bearer" },
        connectTo: { address: "127.0.0.1", port: (flooding.address() as AddressInfo).port },
        allowedNetworks: ["127.0.0.0/8"],
        caCertificates: standIns.authority.certificate,
      },
    },
    {
      kind: "CredentialProvider",
      metadata: { name: "flood" },
      spec: { kind: "vault", secret: "openai-key", serverWorkloads: ["flood"] },
    },
    {
      kind: "AccessPolicy",
      metadata: { name: "flood" },
      spec: {
        agents: ["evil"],
        serverWorkload: "flood",
        credentialProvider: "flood",
        allow: { everything: true },
      },
    },
  ]
    .map((each) => (each === "" ? each : JSON.stringify(each)))
    .join("\n---\n");

const residentMb = (): number =>
  Number(/^VmRSS:\s*(\d+) kB/m.exec(readFileSync(`/proc/${postern.server.pid}/status`, "utf8"))![1]) / 1024;
/** Of one run, as docs/config.md has it. */
const mostConnections = (): number => {
  const limits = readFileSync(`/proc/${postern.server.pid}/limits`, "utf8");
  return Math.min(4096, Math.floor(Number(/^Max open files\s+(\d+)/m.exec(limits)![1]) / 8));
};
const descriptors = (): number => readdirSync(`/proc/${postern.server.pid}/fd`).length;

interface Counts {
  readonly opened: number;
  readonly closed: number;
  readonly answers: number;
}

/** An agent that misuses its connections. */
function attack(kind: string, count: number): { counts(): Counts; stop(): Promise<unknown> } {
  const program = postern.start([
    "run",
    "--agent",
    "evil",
    "--",
    process.execPath,
    HOSTILE_AGENT,
    kind,
    `${count}`,
  ]);
  programs.push(program);
  return {
    counts: () => {
      const line = program.stdout.trimEnd().split("\n").at(-1) ?? "";
      return line === "" ? { opened: 0, closed: 0, answers: 0 } : (JSON.parse(line) as Counts);
    },
    stop: () => program.stop(),
  };
}

/** What a call of the neighbour took that the gateway answers itself, in milliseconds. */
async function callOfVictim(): Promise<number> {
  const startedAt = performance.now();
  const answer = await victim.send(
    `GET /openai/v1/models HTTP/1.1\r\nHost: ${victim.authority}\r\nConnection: close\r\n\r\n`,
  );
  expect(answer).toMatchObject({ status: 403, code: "access_denied" });
  return performance.now() - startedAt;
}

/** Not a measurement: what held a neighbour up when this was written took ten seconds and more. */
const LONGEST_CALL = 5000;
const patiently = { timeout: 60_000, interval: 100 };

describe("an agent that", () => {
  it("opens more connections than a run may have is turned away, and gives all back when it ends", async () => {
    const most = mostConnections();
    const before = { descriptors: descriptors(), mb: residentMb() };
    const evil = attack("idle", most * 2);
    await expect.poll(() => postern.log, patiently).toContain("a run has all the connections it may have");
    await expect.poll(() => evil.counts().closed, patiently).toBeGreaterThan(0);
    expect(await callOfVictim()).toBeLessThan(LONGEST_CALL);
    expect(descriptors() - before.descriptors).toBeLessThan(most + 50);
    expect(residentMb() - before.mb).toBeLessThan(200);
    await evil.stop();
    await expect.poll(() => descriptors() - before.descriptors, patiently).toBeLessThan(50);
  });

  it.each([
    ["opens tunnels in which no TLS comes", "tunnel"],
    ["begins TLS in tunnels and stops in the middle", "handshake"],
  ])("%s loses them in ten seconds", async (_name, kind) => {
    const before = residentMb();
    const evil = attack(kind, 1000);
    await expect.poll(() => evil.counts().opened, patiently).toBe(1000);
    expect(await callOfVictim()).toBeLessThan(LONGEST_CALL);
    await expect.poll(() => evil.counts().closed, patiently).toBe(1000);
    expect(residentMb() - before).toBeLessThan(200);
  });

  it.each([
    ["sends its headers byte by byte", "headers"],
    ["sends a body byte by byte", "body"],
    ["listens to a thousand streams", "stream"],
    ["has nothing more to say and goes on listening", "halfclosed"],
  ])("%s, on a thousand connections, does not hold its neighbour up", async (_name, kind) => {
    const before = residentMb();
    const evil = attack(kind, 1000);
    await expect.poll(() => evil.counts().opened, patiently).toBe(1000);
    for (let i = 0; i < 20; i++) expect(await callOfVictim()).toBeLessThan(LONGEST_CALL);
    expect(evil.counts().closed).toBe(0);
    expect(residentMb() - before).toBeLessThan(300);
  });

  it.each([
    ["never reads its answers", "unread"],
    ["reads a byte of them a second", "sipping"],
  ])("%s makes the upstream wait, not the server's memory grow", async (_name, kind) => {
    const before = residentMb();
    poured = 0;
    const evil = attack(kind, 50);
    await expect.poll(() => evil.counts().opened, patiently).toBe(50);
    for (let i = 0; i < 20; i++) expect(await callOfVictim()).toBeLessThan(LONGEST_CALL);
    // What two sockets' buffers hold, and then no more comes.
    await expect.poll(() => isStill(() => poured), patiently).toBe(true);
    expect(poured / 50).toBeLessThan(32 * 1024 * 1024);
    // Five are usual; it was 250 while pieces that had been passed on stayed in memory.
    expect(residentMb() - before).toBeLessThan(100);
  });

  it("asks as fast as it can on 256 connections leaves its neighbour time", async () => {
    const evil = attack("flood", 256);
    await expect.poll(() => evil.counts().answers, patiently).toBeGreaterThan(2000);
    const times: number[] = [];
    for (let i = 0; i < 20; i++) times.push(await callOfVictim());
    expect(Math.max(...times)).toBeLessThan(LONGEST_CALL);
    expect(evil.counts().closed).toBe(0);
  });
});
