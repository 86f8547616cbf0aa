// SPDX-License-Identifier: Apache-2.0
/** Two gateways on one PostgreSQL database: what is changed at one is in force at the other, and an outage is survived. */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  hasPostgres,
  newMarkedSecret,
  startPostern,
  startPostgres,
  startStandIns,
  type Postern,
  type PostgresServer,
  type StandIns,
} from "@postern/testkit";
import { type AgentConnection, RunningAgent } from "./run-agent.ts";

const MAX_SNAPSHOT_AGE = 3;
const AGENTS = ["first-agent", "second-agent"] as const;

let database: PostgresServer;
let url: string;
let standIns: StandIns;
let here: Postern;
let there: Postern;
let folder: string;
let agent: RunningAgent;

const startOn = (data: string, more: readonly string[] = []): Promise<Postern> =>
  startPostern({
    folder: data,
    args: [
      "--database-url",
      "env:TEST_DATABASE",
      "--max-snapshot-age",
      String(MAX_SNAPSHOT_AGE),
      "--trust-domain",
      "corp",
      ...more,
    ],
    env: { TEST_DATABASE: url },
  });

beforeAll(async () => {
  if (!hasPostgres()) return;
  folder = mkdtempSync(join(tmpdir(), "postern-two-"));
  standIns = await startStandIns({ endlessInterval: 10 });
  database = await startPostgres();
  url = await database.createDatabase();
  here = await startOn(mkdtempSync(join(folder, "here-")));
  const other = mkdtempSync(join(folder, "there-"));
  copyFileSync(join(here.folder, "master.key"), join(other, "master.key"));
  there = await startOn(other);
  for (const [name, value] of Object.entries(standIns.secrets)) await here.setSecret(name, value);
  await here.apply(standIns.resources({ agents: AGENTS }));
  agent = await RunningAgent.start({ folder: there.folder, agent: "first-agent" });
});

afterAll(async () => {
  await agent?.stop();
  await Promise.all([here?.stop(), there?.stop()]);
  await standIns?.close();
  await database?.remove();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

beforeEach(() => standIns?.openai.forgetRequests());

const now = (): number => performance.timeOrigin + performance.now();

function chat(model = "gpt-4o-mini"): string {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "hi" }] });
  return `POST /openai/v1/chat/completions HTTP/1.1\r\nHost: ${agent.authority}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

async function ask() {
  const connection = agent.connect();
  connection.write(chat());
  const answer = await connection.answer();
  connection.destroy();
  return { status: answer.status, code: answer.code };
}

async function openStream(): Promise<AgentConnection> {
  const connection = agent.connect();
  connection.write(chat("stand-in-endless"));
  await connection.until((bytes) => bytes.includes("data: "));
  return connection;
}

/** Straight to the server's socket: the time of a process start would hide the figure. */
function command(server: Postern, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { socketPath: join(server.folder, "control.sock"), method: "POST", path, headers: { host: "postern" } },
      (answer) => answer.resume().once("end", () => resolve(now())),
    );
    outgoing.once("error", reject).end("{}");
  });
}

const middle = (values: readonly number[]): string =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!.toFixed(1);

describe.skipIf(!hasPostgres())("two gateways on one database", () => {
  it("both see what one was told", async () => {
    expect(await ask()).toEqual({ status: 200, code: undefined });
    const shown = await there.postern(["get", "agent", "first-agent", "--json"]);
    expect(JSON.parse(shown.stdout)).toMatchObject({ resources: [{ state: { state: "active" } }] });
  });

  it("a cut at one ends the stream at the other at once", async () => {
    const [sinceSent, sinceAnswered]: number[][] = [[], []];
    for (let round = 0; round < 20; round++) {
      const stream = await openStream();
      const sent = now();
      const answered = await command(here, "/v1/agents/first-agent/cut");
      const ended = await stream.closed();
      sinceSent!.push(ended - sent);
      sinceAnswered!.push(ended - answered);
      expect(await ask()).toEqual({ status: 403, code: "agent_quarantined" });
      await command(here, "/v1/agents/first-agent/restore");
      await expect.poll(async () => (await ask()).status, { interval: 5 }).toBe(200);
    }
    process.stderr.write(
      `cut at one gateway, stream ended at the other: p50 ${middle(sinceSent!)} ms, max ${Math.max(...sinceSent!).toFixed(1)} ms ` +
        `after the command was sent; p50 ${middle(sinceAnswered!)} ms, max ${Math.max(...sinceAnswered!).toFixed(1)} ms after its answer\n`,
    );
    expect(Math.max(...sinceAnswered!)).toBeLessThan(1000);
  });

  it("a policy that is taken away at one is gone at the other", async () => {
    const without = standIns
      .resources({ agents: AGENTS })
      .replace(
        /(metadata: \{ name: agents-may-use-openai \}\nspec:\n  agents: )\[[^\]]*\]/,
        `$1["second-agent"]`,
      );
    await here.apply(without);
    await expect.poll(ask, { interval: 5 }).toEqual({ status: 403, code: "access_denied" });
    await there.apply(standIns.resources({ agents: AGENTS }));
    expect((await ask()).status).toBe(200);
  });

  it("a secret that is set again at one is used by the other", async () => {
    const rotated = newMarkedSecret("sk-proj-");
    await here.setSecret("openai-key", rotated);
    standIns.openai.setKey(rotated);
    await expect.poll(async () => (await ask()).status, { interval: 5 }).toBe(200);
  });

  it("both sign with the same authorities, and what one does to them the other does too", async () => {
    const states = async (server: Postern): Promise<string[]> => {
      const { stdout } = await server.postern(["ca", "list", "--json"]);
      const { authorities } = JSON.parse(stdout) as { authorities: { name: string; state: string }[] };
      return authorities.map(({ name, state }) => `${name} ${state}`);
    };
    const both = async () => [await states(here), await states(there)];
    const expected = ["jwt-1 active", "x509-1 active"];
    expect(await both()).toEqual([expected, expected]);
    await here.postern(["ca", "prepare", "jwt"]);
    await expect.poll(() => states(there)).toEqual(["jwt-1 active", "jwt-2 prepared", "x509-1 active"]);
    await there.postern(["ca", "activate", "jwt-2", "--force"]);
    await expect.poll(() => states(here)).toEqual(["jwt-1 old", "jwt-2 active", "x509-1 active"]);
    const bundles = await Promise.all([here, there].map((server) => server.postern(["ca", "bundle"])));
    expect(bundles[0]!.stdout).toBe(bundles[1]!.stdout);
  });

  it("the master key is rotated while requests go on at the other, which seals under the new one", async () => {
    const reference = `file:${join(folder, "new.key")}`;
    writeFileSync(join(folder, "new.key"), randomBytes(32).toString("base64"), { mode: 0o600 });
    const alone = await here.postern(["vault", "rotate-key"]);
    expect(alone.code).toBe(1);
    expect(alone.stderr).toContain("vault accept-key");
    expect((await there.postern(["vault", "accept-key", reference])).code).toBe(0);
    const statuses: number[] = [];
    let isRotated = false;
    const asking = (async () => {
      while (!isRotated) statuses.push((await ask()).status);
    })();
    const rotated = await here.postern(["vault", "rotate-key", "--to", reference, "--json"]);
    isRotated = true;
    await asking;
    expect(JSON.parse(rotated.stdout)).toMatchObject({ startWith: reference });
    expect(new Set(statuses)).toEqual(new Set([200]));
    await there.setSecret("another", "value");
    expect(await database.query(url, "select count(distinct key_id) from secret_versions")).toBe("1");
    const wrong = await startOn(here.folder.replace("here-", "third-")).catch(
      (error: Error) => error.message,
    );
    expect(wrong).toContain("the master key is lost");
  });

  it("while the database is away the other serves what it knows, for the stated time only", async () => {
    await database.crash();
    const away = now();
    let last = away;
    let answer = await ask();
    expect(answer.status).toBe(200);
    while (answer.status === 200) {
      last = now();
      // An answer that is under way when the time is over breaks off: the next one is refused in words.
      answer = await ask().catch(() => ask());
    }
    const served = (last - away) / 1000;
    expect(answer).toEqual({ status: 503, code: "control_plane_unavailable" });
    // The last look was up to a second before.
    expect(served).toBeGreaterThan(MAX_SNAPSHOT_AGE - 1.2);
    expect(served).toBeLessThan(MAX_SNAPSHOT_AGE + 0.5);
    const cut = await here.postern(["cut", "first-agent"]);
    expect(cut.code).toBe(1);
    expect(cut.stderr).toContain("could not be stored");
    const status = await there.postern(["status", "--json"]);
    expect(JSON.parse(status.stdout)).toMatchObject({ ready: false });
    await database.start();
    // The cut is stored as soon as there is somewhere to store it.
    await expect.poll(ask, { interval: 20, timeout: 10_000 }).toMatchObject({ code: "agent_quarantined" });
    await command(here, "/v1/agents/first-agent/restore");
    await expect.poll(async () => (await ask()).status, { interval: 20 }).toBe(200);
    process.stderr.write(
      `database away: served for ${served.toFixed(1)} s, then refused, then served again\n`,
    );
  });
});
