// SPDX-License-Identifier: Apache-2.0
/** One agent does its worst to the gateway; another one must hardly notice, and the server must not grow. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Postern, startPostern, startStandIns, type StandIns } from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

let standIns: StandIns;
let postern: Postern;
let evil: RunningAgent;
let victim: RunningAgent;

beforeAll(async () => {
  standIns = await startStandIns();
  postern = await startPostern();
  await Promise.all(Object.entries(standIns.secrets).map(([name, value]) => postern.setSecret(name, value)));
  await postern.apply(standIns.resources({ agents: ["evil", "victim"] }));
  const start = (agent: string) => RunningAgent.start({ folder: postern.folder, agent });
  [evil, victim] = await Promise.all([start("evil"), start("victim")]);
});

afterAll(async () => {
  await Promise.all([evil.stop(), victim.stop()]);
  await postern.stop();
  await standIns.close();
});

const residentMb = (): number =>
  Number(/^VmRSS:\s*(\d+) kB/m.exec(readFileSync(`/proc/${postern.server.pid}/status`, "utf8"))![1]) / 1024;

const head = (agent: RunningAgent, line: string, ...headers: string[]): string =>
  [line, `Host: ${new URL(agent.environment["POSTERN_GATE"]!).host}`, ...headers, "", ""].join("\r\n");

/** The longest that the victim waited for one of its calls while `attack` was under way, in milliseconds. */
async function worstCallDuring(attack: Promise<unknown>): Promise<number> {
  let isOver = false;
  void attack.finally(() => (isOver = true));
  let worst = 0;
  while (!isOver) {
    const connection = victim.connect();
    const startedAt = performance.now();
    connection.write(head(victim, "GET /openai/v1/models HTTP/1.1", "Connection: close"));
    // One call after the other: how long each waits is what is measured.
    // oxlint-disable-next-line no-await-in-loop
    await connection.closed();
    worst = Math.max(worst, performance.now() - startedAt);
    expect(connection.received.toString("latin1")).toContain('"code":"access_denied"');
  }
  await attack;
  return worst;
}

describe("an agent that", () => {
  it("sends requests without waiting is answered one by one, and its neighbour keeps its time", async () => {
    const before = residentMb();
    const flood = head(evil, "GET /openai/v1/models HTTP/1.1").repeat(2000);
    const attack = Promise.all(
      Array.from({ length: 10 }, async () => {
        const connection = evil.connect();
        connection.write(flood);
        await connection.until((bytes) => bytes.toString("latin1").split("HTTP/1.1 403").length > 100);
        connection.destroy();
      }),
    );
    const worst = await worstCallDuring(attack);
    expect(worst).toBeLessThan(3000);
    expect(residentMb() - before).toBeLessThan(150);
  });

  it("sends a body byte by byte takes no more memory than the body", async () => {
    const before = residentMb();
    const connection = evil.connect();
    const start = head(
      evil,
      "POST /openai/v1/chat/completions HTTP/1.1",
      "Content-Type: application/json",
      "Transfer-Encoding: chunked",
    );
    connection.write(start + "1\r\n \r\n".repeat(400_000));
    connection.write("2\r\n[]\r\n0\r\n\r\n");
    const answer = await connection.answer();
    expect(answer.body.toString()).toContain('"code":"request_malformed"');
    expect(residentMb() - before).toBeLessThan(150);
  });

  it("sends millions of values does not stop its neighbour while they are read", async () => {
    const connection = evil.connect();
    const body = `{"model":"gpt-5","a":[${"{},".repeat(6_000_000)}1]}`;
    connection.write(
      head(
        evil,
        "POST /openai/v1/chat/completions HTTP/1.1",
        "Content-Type: application/json",
        `Content-Length: ${body.length}`,
      ) + body,
    );
    const attack = connection.answer();
    const worst = await worstCallDuring(attack);
    expect((await attack).body.toString()).toContain('"code":"access_denied"');
    expect(worst).toBeLessThan(2000);
  });
});
