// SPDX-License-Identifier: Apache-2.0
/** Budgets of the real product: what an agent is told, and what it is charged. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { BudgetState } from "@postern/contract";
import { startPostern, startStandIns, type Postern, type StandIns } from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

/** A machine that is busy with other things takes its time. */
const PATIENT = { timeout: 20_000 };
const AGENTS = ["first-agent", "second-agent"] as const;

let standIns: StandIns;
let folder: string;
let postern: Postern;
let agent: RunningAgent;

beforeAll(async () => {
  standIns = await startStandIns({ endlessInterval: 10 });
  folder = mkdtempSync(join(tmpdir(), "postern-budgets-"));
  postern = await startPostern({ folder });
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  await postern.apply(standIns.resources({ agents: AGENTS }));
  agent = await RunningAgent.start({ folder, agent: "first-agent" });
});

afterAll(async () => {
  await agent?.stop();
  await postern?.stop();
  await standIns?.close();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

beforeEach(() => standIns.openai.forgetRequests());

const budget = (name: string, limits: string, more = ""): string =>
  `kind: Budget\nmetadata: { name: ${name} }\nspec:\n  appliesTo: { agents: [first-agent] }\n  period: month\n  limits: ${limits}\n${more}`;

function chat(by: RunningAgent, more: object = {}): string {
  const body = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hi" }], ...more });
  return `POST /openai/v1/chat/completions HTTP/1.1\r\nHost: ${by.authority}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

/** As operators see it. */
async function shown(name: string): Promise<BudgetState> {
  const { stdout } = await postern.postern(["budget", "show", name, "--json"]);
  return JSON.parse(stdout) as BudgetState;
}

/** By unit, of a budget with one counter for all. */
async function used(name: string): Promise<Record<string, number>> {
  const { counters } = await shown(name);
  expect(counters.map(({ reserved }) => reserved)).toEqual(counters.map(() => 0));
  return Object.fromEntries(counters.map((counter) => [counter.unit, counter.used]));
}

describe("an answer", () => {
  it("says what is left, and a refusal when there is more", async () => {
    await postern.apply(budget("tiny", "{ requests: 1 }", "  timeZone: Europe/Berlin\n"));
    const passed = await agent.send(chat(agent));
    expect(passed.status).toBe(200);
    expect(passed.headers["ratelimit"]).toMatch(/^"tiny\/requests";r=0;t=\d+$/);
    expect(passed.headers["ratelimit-policy"]).toMatch(/^"tiny\/requests";q=1;qu="requests";w=\d+$/);
    const refused = await agent.send(chat(agent));
    expect(refused).toMatchObject({ status: 429, code: "budget_exhausted" });
    expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
    expect(refused.headers["ratelimit"]).toMatch(/r=0/);
    // A month is too long to wait for: SDKs must not try again by themselves.
    expect(refused.headers["x-should-retry"]).toBe("false");
    const id = refused.headers["postern-audit-id"]!;
    const why = await postern.postern(["why", id]);
    expect(why.stdout).toContain("budget_exhausted");
    await postern.postern(["delete", "Budget", "tiny"]);
    expect((await agent.send(chat(agent))).status).toBe(200);
  });

  it("is not charged where the request was refused by something else", async () => {
    await postern.apply(budget("other", "{ requests: 2 }"));
    expect((await agent.send(chat(agent, { model: "gpt-5" }))).code).toBe("access_denied");
    expect((await agent.send(chat(agent))).status).toBe(200);
    expect((await agent.send(chat(agent))).status).toBe(200);
    expect((await agent.send(chat(agent))).status).toBe(429);
    await postern.postern(["delete", "Budget", "other"]);
  });
});

describe("answers of every kind", () => {
  it("a stream says at its beginning what is left, and one that is refused gets 429 and no stream", async () => {
    await postern.apply(budget("streams", "{ requests: 1 }"));
    const passed = await agent.send(chat(agent, { stream: true }));
    expect(passed.headers["content-type"]).toContain("text/event-stream");
    expect(passed.headers["ratelimit"]).toMatch(/^"streams\/requests";r=0;t=\d+$/);
    const refused = await agent.send(chat(agent, { stream: true }));
    expect(refused).toMatchObject({ status: 429, code: "budget_exhausted" });
    expect(refused.headers["content-type"]).toContain("application/problem+json");
    expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
    await postern.postern(["delete", "Budget", "streams"]);
  });

  it("a WebSocket says it in its 101, and one that is refused gets 429 before anything leaves", async () => {
    await postern.apply(budget("sockets", "{ requests: 1 }"));
    const handshake = `GET /openai/v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: ${agent.authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;
    const connection = agent.connect();
    connection.write(handshake);
    await connection.until((bytes) => bytes.includes("\r\n\r\n"));
    const head = connection.take().toString("latin1").split("\r\n\r\n")[0]!;
    expect(head).toMatch(/^HTTP\/1\.1 101 /);
    expect(head).toMatch(/\r\nratelimit: "sockets\/requests";r=0;t=\d+/i);
    const before = standIns.openai.sockets.length;
    const refused = await agent.send(handshake);
    expect(refused).toMatchObject({ status: 429, code: "budget_exhausted" });
    expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
    expect(standIns.openai.sockets).toHaveLength(before);
    connection.destroy();
    await postern.postern(["delete", "Budget", "sockets"]);
    // What it would use nobody can say.
    await postern.apply(budget("sockets", "{ tokens: 1000000 }"));
    expect(await agent.send(handshake)).toMatchObject({ status: 403, code: "usage_unbounded" });
    await postern.postern(["delete", "Budget", "sockets"]);
  });

  it("names every budget that counts the request, and is refused by the one that is used up", async () => {
    const of = (name: string, appliesTo: string, period: string, requests: number, more = ""): string =>
      `kind: Budget\nmetadata: { name: ${name} }\nspec:\n  appliesTo: ${appliesTo}\n  period: ${period}\n  limits: { requests: ${requests} }\n${more}`;
    await postern.apply(
      [
        of("per-agent", "{ everything: true }", "minute", 1000, "  per: agent\n"),
        of("per-place", "{ serverWorkloads: [openai] }", "hour", 900, "  per: serverWorkload\n"),
        of("per-model", "{ models: [gpt-4o-mini] }", "day", 1, "  per: model\n  timeZone: Asia/Kolkata\n"),
        of("other-model", "{ models: [another] }", "month", 0),
        of("other-agent", "{ agents: [second-agent] }", "month", 0),
      ].join("---\n"),
    );
    const passed = await agent.send(chat(agent));
    expect(passed.status).toBe(200);
    // The one with the least left comes first.
    expect(passed.headers["ratelimit"]).toMatch(
      /^"per-model\/requests";r=0;t=\d+, "per-(place|agent)\/requests";r=(899|999);t=\d+, "per-(place|agent)\/requests";r=(899|999);t=\d+$/,
    );
    expect(passed.headers["ratelimit-policy"]).toContain('"per-agent/requests";q=1000;qu="requests";w=60');
    expect(passed.headers["ratelimit-policy"]).toContain('"per-place/requests";q=900;qu="requests";w=3600');
    expect(passed.headers["ratelimit-policy"]).toContain('"per-model/requests";q=1;qu="requests";w=86400');
    const refused = await agent.send(chat(agent));
    expect(refused.detail).toContain("`per-model`");
    expect(refused.detail).not.toContain("per-place");
    const seconds = Number(refused.headers["retry-after"]);
    // Until midnight in Kolkata, which has no daylight saving: 18:30 UTC.
    const midnight = 86_400 - ((Date.now() / 1000 + 5.5 * 3600) % 86_400);
    expect(Math.abs(seconds - midnight)).toBeLessThan(30);
    for (const name of ["per-agent", "per-place", "per-model", "other-model", "other-agent"])
      await postern.postern(["delete", "Budget", name]);
  });
});

describe("tokens and dollars", () => {
  const PRICES = `
---
kind: PriceList
metadata: { name: prices }
spec:
  version: "1"
  date: 2026-11-21
  serverWorkloads: [openai]
  models:
    - { names: [gpt-4o-mini, stand-in-endless], input: 2, output: 8, maxOutputTokens: 90000 }
`;
  const all = "{ requests: 1000, inputTokens: 100000, outputTokens: 100000, dollars: 1 }";
  const apply = (name: string, limits = all) => postern.apply(budget(name, limits) + PRICES);
  const remove = (name: string) => postern.postern(["delete", "Budget", name]);

  it("are charged as the upstream reports them, and the log has both figures", async () => {
    await apply("reported");
    const answer = await agent.send(chat(agent, { max_tokens: 50 }));
    const { usage } = JSON.parse(answer.body.toString()) as {
      usage: { prompt_tokens: number; completion_tokens: number };
    };
    const dollars = usage.prompt_tokens * 2 + usage.completion_tokens * 8;
    await expect
      .poll(() => used("reported"), PATIENT)
      .toEqual({
        ...{ requests: 1, inputTokens: usage.prompt_tokens, outputTokens: usage.completion_tokens },
        "micro-dollars": dollars,
      });
    const { stdout } = await postern.postern(["audit", "tail", "--json", "-n", "20"]);
    expect(stdout).toContain("reported/outputTokens=50");
    expect(stdout).toContain(`reported/micro-dollars=${dollars}`);
    expect(stdout).toContain('"charge_basis":"reported"');
    await remove("reported");
  });

  it("of a stream that is aborted are charged for what was seen, and what was held comes back", async () => {
    await apply("aborted");
    const connection = agent.connect();
    connection.write(chat(agent, { model: "stand-in-endless", stream: true, max_tokens: 90_000 }));
    await connection.until((bytes) => bytes.toString().split("data: ").length > 5);
    const open = (await shown("aborted")).counters.find(({ unit }) => unit === "outputTokens");
    expect(open).toMatchObject({ used: 0, reserved: 90_000 });
    connection.destroy();
    await expect
      .poll(async () => (await shown("aborted")).counters.map(({ reserved }) => reserved), PATIENT)
      .toEqual([0, 0, 0, 0]);
    const { outputTokens, requests } = await used("aborted");
    expect(requests).toBe(1);
    expect(outputTokens).toBeGreaterThan(0);
    expect(outputTokens).toBeLessThan(90_000);
    await remove("aborted");
  });

  it("are refused before anything leaves where they would be too many, with the numbers", async () => {
    await apply("small", "{ outputTokens: 100 }");
    const refused = await agent.send(chat(agent, { max_tokens: 101 }));
    expect(refused).toMatchObject({ status: 429, code: "budget_exhausted" });
    expect(refused.detail).toContain("101 output tokens");
    expect(refused.headers["retry-after"]).toBeUndefined();
    expect(standIns.openai.requests).toHaveLength(0);
    await remove("small");
  });

  it("of a model without a price are refused, and so is what nobody meters", async () => {
    await postern.apply(budget("unpriced", "{ dollars: 1 }") + PRICES.replace("gpt-4o-mini, ", ""));
    expect(await agent.send(chat(agent, { max_tokens: 1 }))).toMatchObject({
      ...{ status: 403, code: "usage_unbounded" },
      detail: expect.stringContaining("gpt-4o-mini"),
    });
    expect(standIns.openai.requests).toHaveLength(0);
    await remove("unpriced");
  });

  it("have the prices of a file that was imported and applied, and new ones as soon as these are applied", async () => {
    const file = join(folder, "..", `${basename(folder)}-prices.json`);
    const write = (input: number) =>
      writeFileSync(
        file,
        JSON.stringify({
          "gpt-4o-mini": {
            ...{ litellm_provider: "openai", mode: "chat", max_output_tokens: 1000 },
            ...{ input_cost_per_token: input, output_cost_per_token: 0 },
          },
        }),
      );
    await postern.apply(budget("imported", "{ dollars: 1 }"));
    let spent = 0;
    for (const input of [1.5e-6, 3e-6]) {
      write(input);
      const words = ["--provider", "openai", "--workload", "openai", "--date", "2026-11-21"];
      const { stdout, code } = await postern.postern([
        ...["price", "import", file, "--name", "prices"],
        ...words,
      ]);
      expect(code).toBe(0);
      await postern.apply(stdout);
      const answer = await agent.send(chat(agent));
      const { usage } = JSON.parse(answer.body.toString()) as { usage: { prompt_tokens: number } };
      spent += Math.ceil(usage.prompt_tokens * input * 1e6 - 1e-9);
      await expect.poll(() => used("imported"), PATIENT).toEqual({ "micro-dollars": spent });
    }
    rmSync(file);
    await remove("imported");
  }, 30_000);

  it("of two budgets are taken from both or from none", async () => {
    await postern.apply(`${budget("wide", "{ requests: 100 }")}---\n${budget("narrow", "{ requests: 1 }")}`);
    expect((await agent.send(chat(agent))).status).toBe(200);
    expect((await agent.send(chat(agent))).status).toBe(429);
    expect(await used("wide")).toEqual({ requests: 1 });
    await remove("wide");
    await remove("narrow");
  });
});
