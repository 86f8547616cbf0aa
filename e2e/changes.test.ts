// SPDX-License-Identifier: Apache-2.0
/** What operators change takes effect in the running gateway: at once, for open connections and open streams too. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { newMarkedSecret, startPostern, startStandIns, type Postern, type StandIns } from "@postern/testkit";
import { type AgentConnection, RunningAgent } from "./run-agent.ts";

const AGENTS = ["first-agent", "second-agent"] as const;

let standIns: StandIns;
let postern: Postern;
let first: RunningAgent;
let second: RunningAgent;

beforeAll(async () => {
  standIns = await startStandIns({ endlessInterval: 10 });
  postern = await startPostern();
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  await postern.apply(standIns.resources({ agents: AGENTS }));
  const start = (agent: string) => RunningAgent.start({ folder: postern.folder, agent });
  [first, second] = await Promise.all([start("first-agent"), start("second-agent")]);
});

afterAll(async () => {
  await Promise.all([first?.stop(), second?.stop()]);
  await postern?.stop();
  await standIns?.close();
});

beforeEach(() => standIns.openai.forgetRequests());

const now = (): number => performance.timeOrigin + performance.now();

function chat(agent: RunningAgent, model = "gpt-4o-mini"): string {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "hi" }] });
  return `POST /openai/v1/chat/completions HTTP/1.1\r\nHost: ${agent.authority}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

async function ask(connection: AgentConnection, agent: RunningAgent) {
  connection.write(chat(agent));
  return connection.answer();
}

async function openStream(agent: RunningAgent): Promise<AgentConnection> {
  const connection = agent.connect();
  connection.write(chat(agent, "stand-in-endless"));
  await connection.until((bytes) => bytes.includes("data: "));
  return connection;
}

async function goesOn(connection: AgentConnection): Promise<boolean> {
  const { length } = connection.received;
  await connection.until((bytes) => bytes.length > length + 500);
  return true;
}

const events = async (lines = 30): Promise<{ unmapped: object }[]> => {
  const { stdout } = await postern.postern(["audit", "tail", "--json", "-n", String(lines)]);
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { unmapped: object });
};

describe("apply", () => {
  const policyFor = (agents: readonly string[]) =>
    standIns
      .resources({ agents: AGENTS })
      .replace(
        /(metadata: \{ name: agents-may-use-openai \}\nspec:\n  agents: )\[[^\]]*\]/,
        `$1${JSON.stringify(agents)}`,
      );

  it("takes a policy away from an open connection, and gives it back, in less than a second", async () => {
    const connection = first.connect();
    expect((await ask(connection, first)).status).toBe(200);
    const asked = now();
    await postern.apply(policyFor(["second-agent"]));
    const applied = now() - asked;
    expect(await ask(connection, first)).toMatchObject({ status: 403, code: "access_denied" });
    process.stderr.write(
      `apply, process start included: ${applied.toFixed(0)} ms; in force when it returns\n`,
    );
    expect(applied).toBeLessThan(3000);
    expect((await ask(second.connect(), second)).status).toBe(200);
    await postern.apply(policyFor(AGENTS));
    expect((await ask(connection, first)).status).toBe(200);
    connection.destroy();
  });

  it("changes where a server workload is, for an open connection too", async () => {
    const connection = first.connect();
    expect((await ask(connection, first)).status).toBe(200);
    const resources = standIns.resources({ agents: AGENTS });
    await postern.apply(resources.replace(`port: ${standIns.openai.port} }`, "port: 1 }"));
    expect(await ask(connection, first)).toMatchObject({ status: 502, code: "upstream_unreachable" });
    await postern.apply(resources);
    expect((await ask(connection, first)).status).toBe(200);
    connection.destroy();
  });
});

describe("a secret", () => {
  it("that is set again is used by the next request", async () => {
    const connection = first.connect();
    const old = standIns.secrets["openai-key"]!;
    const rotated = newMarkedSecret("sk-proj-");
    await postern.setSecret("openai-key", rotated);
    expect((await ask(connection, first)).status).toBe(401);
    standIns.openai.setKey(rotated);
    expect((await ask(connection, first)).status).toBe(200);
    await postern.setSecret("openai-key", old);
    standIns.openai.setKey(old);
    expect((await ask(connection, first)).status).toBe(200);
    connection.destroy();
  });

  it("that is in use is not deleted, and one that cannot be sent is refused where it would be", async () => {
    const refused = await postern.postern(["secret", "delete", "openai-key"]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("openai-credential");
    const old = standIns.secrets["openai-key"]!;
    await postern.setSecret("openai-key", "with\ttab");
    const answer = await ask(first.connect(), first);
    expect(answer).toMatchObject({ status: 502, code: "injection_failed" });
    expect(answer.body.toString()).not.toContain("with\\ttab");
    expect(standIns.openai.requests).toEqual([]);
    await postern.setSecret("openai-key", old);
  });
});

describe("cut", () => {
  it("ends the agent's stream at once and nobody else's, and restore lets it pass again", async () => {
    const [mine, other] = [await openStream(first), await openStream(second)];
    const upstream = standIns.openai.streams.at(-2)!;
    const asked = now();
    const cut = await postern.postern(["cut", "first-agent", "--reason", "tested", "--json"]);
    const returned = now();
    expect(JSON.parse(cut.stdout)).toEqual({ agent: "first-agent", state: "cut", ended: 1 });
    const ended = await mine.closed();
    await expect.poll(() => upstream.abortedAt).toBeDefined();
    process.stderr.write(
      `cut: stream ended ${(ended - asked).toFixed(0)} ms after the command was started, ${(returned - ended).toFixed(0)} ms before it returned\n`,
    );
    expect(ended).toBeLessThan(returned);
    expect(await goesOn(other)).toBe(true);
    const refused = await ask(first.connect(), first);
    expect(refused).toMatchObject({ status: 403, code: "agent_quarantined" });
    expect(await goesOn(other)).toBe(true);
    other.destroy();
    expect((await postern.postern(["restore", "first-agent"])).code).toBe(0);
    expect((await ask(first.connect(), first)).status).toBe(200);
    const kinds = (await events()).map(({ unmapped }) => unmapped);
    expect(kinds).toContainEqual(expect.objectContaining({ kind: "outcome", ended: "cut" }));
    const text = JSON.stringify(await events());
    expect(text).toContain("tested");
    expect(text).toMatch(/"cut"/);
    expect(text).toMatch(/"restore"/);
  });

  it("ends ten streams of one agent", async () => {
    const streams = await Promise.all(Array.from({ length: 10 }, () => openStream(first)));
    const cut = await postern.postern(["cut", "first-agent", "--json"]);
    expect(JSON.parse(cut.stdout)).toMatchObject({ ended: 10 });
    await Promise.all(streams.map((stream) => stream.closed()));
    await postern.postern(["restore", "first-agent"]);
  });

  it("of an agent that does not exist is refused", async () => {
    const cut = await postern.postern(["cut", "nobody"]);
    expect(cut.code).toBe(1);
    expect(cut.stderr).toContain("nobody");
  });
});

describe("an agent that is deleted while it runs", () => {
  it("loses its open stream and its open connections", async () => {
    const connection = second.connect();
    expect((await ask(connection, second)).status).toBe(200);
    const [stream, other] = [await openStream(second), await openStream(first)];
    await postern.apply(standIns.resources({ agents: ["first-agent"] }));
    expect((await postern.postern(["delete", "Agent", "second-agent"])).code).toBe(0);
    await stream.closed();
    expect(await ask(connection, second)).toMatchObject({ status: 403, code: "agent_unidentified" });
    expect(await goesOn(other)).toBe(true);
    other.destroy();
    await postern.apply(standIns.resources({ agents: AGENTS }));
    expect((await ask(connection, second)).status).toBe(200);
  });

  it("loses its open stream when its time is over", async () => {
    const stream = await openStream(second);
    const expires = new Date(Date.now() + 1500).toISOString();
    const resources = standIns.resources({ agents: AGENTS });
    await postern.apply(
      resources.replace(
        /(selectors: \[[^\]]*process:agent=second-agent"\]\n)/,
        `$1  expiresAt: "${expires}"\n`,
      ),
    );
    expect(await stream.closed()).toBeGreaterThanOrEqual(Date.parse(expires));
    const refused = await ask(second.connect(), second);
    expect(refused).toMatchObject({ status: 403, code: "agent_quarantined" });
    await postern.apply(resources);
  });
});

describe("a restart of the server", () => {
  it("does not bring an agent back that was cut", async () => {
    await postern.postern(["cut", "first-agent"]);
    await Promise.all([first.stop(), second.stop()]);
    const { folder } = postern;
    await postern.server.stop();
    const again = await startPostern({ folder });
    try {
      const run = await RunningAgent.start({ folder, agent: "first-agent" });
      expect(await ask(run.connect(), run)).toMatchObject({ status: 403, code: "agent_quarantined" });
      const shown = await again.postern(["get", "agent", "first-agent", "--json"]);
      expect(JSON.parse(shown.stdout)).toMatchObject({ resources: [{ state: { state: "cut" } }] });
      expect((await again.postern(["restore", "first-agent"])).code).toBe(0);
      expect((await ask(run.connect(), run)).status).toBe(200);
      await run.stop();
    } finally {
      await again.stop();
    }
  });
});
