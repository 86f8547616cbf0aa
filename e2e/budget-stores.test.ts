// SPDX-License-Identifier: Apache-2.0
/** Budgets on each store, with gateways that are killed: never more than there is. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { BudgetState } from "@postern/contract";
import {
  hasPostgres,
  hasRedis,
  startPostern,
  startPostgres,
  startRedis,
  startStandIns,
  type Postern,
  type PostgresServer,
  type RedisServer,
  type StandIns,
} from "@postern/testkit";
import type { Answer } from "./http-answer.ts";
import { RunningAgent } from "./run-agent.ts";

/** What a store needs before gateways can share it. */
interface Store {
  readonly gateways: number;
  /** Whether resources and secrets are shared, too. */
  readonly sharesState: boolean;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  remove(): Promise<void>;
}

let scratch: string;
let standIns: StandIns;
let redis: RedisServer | undefined;
let postgres: PostgresServer | undefined;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), "postern-budget-stores-"));
  standIns = await startStandIns({ endlessInterval: 10 });
});
afterAll(async () => {
  await standIns?.close();
  rmSync(scratch, { recursive: true, force: true });
});
beforeEach(() => standIns.openai.forgetRequests());

const stores: Record<string, () => Promise<Store>> = {
  "in the embedded store": async () => ({
    ...{ gateways: 1, sharesState: false, args: [], env: {} },
    remove: async () => {},
  }),
  "on PostgreSQL": async () => {
    postgres = await startPostgres();
    return {
      ...{ gateways: 2, sharesState: true, args: ["--database-url", "env:TEST_DATABASE"] },
      env: { TEST_DATABASE: await postgres.createDatabase() },
      remove: () => postgres!.remove(),
    };
  },
  "on Redis": async () => {
    redis = await startRedis();
    const file = join(scratch, "redis-url");
    writeFileSync(file, redis.freshUrl(), { mode: 0o600 });
    return {
      ...{ gateways: 2, sharesState: false, args: ["--budget-url", `file:${file}`], env: {} },
      remove: () => redis!.remove(),
    };
  },
};

const isMissing = (name: string): boolean =>
  (name.includes("Redis") && !hasRedis()) || (name.includes("PostgreSQL") && !hasPostgres());

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

const budget = (name: string, limits: string): string =>
  `kind: Budget\nmetadata: { name: ${name} }\nspec:\n  appliesTo: { agents: [first-agent] }\n  period: month\n  limits: ${limits}\n${PRICES}`;

function chat(by: RunningAgent, more: object = {}): string {
  const body = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hi" }], ...more });
  return `POST /openai/v1/chat/completions HTTP/1.1\r\nHost: ${by.authority}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

const statuses = (answers: readonly Answer[], status: number): number =>
  answers.filter((answer) => answer.status === status).length;

/** Calls on `lanes` connections at once, each as often as it says; what breaks off counts as nothing. */
async function race(by: RunningAgent, lanes: number, each: number): Promise<Answer[]> {
  const answers: Answer[] = [];
  await Promise.allSettled(
    Array.from({ length: lanes }, async () => {
      const connection = by.connect();
      for (let turn = 0; turn < each; turn++) {
        connection.write(chat(by));
        answers.push(await connection.answer());
      }
      connection.destroy();
    }),
  );
  return answers;
}

describe.each(Object.entries(stores).filter(([name]) => !isMissing(name)))("counters %s", (name, open) => {
  let store: Store;
  let gateways: Postern[];
  let agents: RunningAgent[];

  const start = (index: number): Promise<Postern> =>
    startPostern({ folder: join(folder(), String(index)), args: store.args, env: store.env });
  const folder = (): string => join(scratch, name.replaceAll(" ", "-"));
  const stateful = (): readonly Postern[] => (store.sharesState ? gateways.slice(0, 1) : gateways);
  const apply = async (yaml: string): Promise<void> => {
    for (const gateway of stateful()) await gateway.apply(yaml);
  };
  const counters = async (of: string, at = 0) => {
    const { stdout } = await gateways[at]!.postern(["budget", "show", of, "--json"]);
    return (JSON.parse(stdout) as BudgetState).counters;
  };
  const sent = (): number => standIns.openai.requests.length;

  beforeAll(async () => {
    store = await open();
    gateways = [];
    agents = [];
    for (let index = 0; index < store.gateways; index++) {
      const own = join(folder(), String(index));
      mkdirSync(own, { recursive: true, mode: 0o700 });
      if (index > 0 && store.sharesState)
        copyFileSync(join(gateways[0]!.folder, "master.key"), join(own, "master.key"));
      gateways.push(await start(index));
    }
    for (const gateway of stateful())
      for (const [secret, value] of Object.entries(standIns.secrets)) await gateway.setSecret(secret, value);
    await apply(standIns.resources({ agents: ["first-agent"] }));
    for (const gateway of gateways)
      agents.push(await RunningAgent.start({ folder: gateway.folder, agent: "first-agent" }));
  }, 60_000);

  afterAll(async () => {
    for (const agent of agents ?? []) await agent.stop();
    for (const gateway of gateways ?? []) await gateway.stop();
    await store?.remove();
  });

  let current = "";
  afterEach(async () => {
    for (const gateway of stateful()) await gateway.postern(["delete", "Budget", current]);
  });

  const use = async (of: string, limits: string): Promise<void> => {
    current = of;
    await apply(budget(of, limits));
    // A gateway that hears of it a moment later would count nothing until then.
    for (const [at] of gateways.entries())
      await expect.poll(() => counters(of, at).catch(() => []), { timeout: 20_000 }).not.toEqual([]);
  };

  async function killAndRestart(index: number, racing: Promise<Answer[]>): Promise<Answer[]> {
    process.kill(gateways[index]!.server.pid, "SIGKILL");
    const answers = await racing;
    await agents[index]!.stop();
    await gateways[index]!.stop();
    gateways[index] = await start(index);
    agents[index] = await RunningAgent.start({ folder: gateways[index].folder, agent: "first-agent" });
    return answers;
  }

  it("admit exactly 200 of 500 racing calls", async () => {
    await use("race", "{ requests: 200 }");
    const lanes = 50 / gateways.length;
    const answers = (await Promise.all(agents.map((agent) => race(agent, lanes, 10)))).flat();
    expect(answers).toHaveLength(500);
    expect(statuses(answers, 200)).toBe(200);
    expect(statuses(answers, 429)).toBe(300);
    expect(sent()).toBe(200);
  }, 60_000);

  it("admit exactly 200 in all while gateways are killed in between", async () => {
    await use("killed", "{ requests: 200 }");
    let answered = 0;
    for (let round = 0; round < 5; round++) {
      const before = sent();
      const racing = Promise.all(agents.map((agent) => race(agent, 10, 10 / gateways.length)));
      if (before < 170)
        await expect.poll(sent, { interval: 1, timeout: 20_000 }).toBeGreaterThan(before + 15);
      const flat = racing.then((each) => each.flat());
      answered += statuses(await killAndRestart(round % gateways.length, flat), 200);
    }
    const last = (await Promise.all(agents.map((agent) => race(agent, 10, 20)))).flat();
    answered += statuses(last, 200);
    // What was admitted and killed before it left or before its answer came is used, too.
    expect(sent()).toBeLessThanOrEqual(200);
    expect(answered).toBeLessThanOrEqual(sent());
    expect(answered).toBeGreaterThan(100);
    for (const agent of agents) expect(statuses(await race(agent, 5, 5), 429)).toBe(25);
    expect(await counters("killed")).toEqual([
      { subject: "", unit: "requests", limit: 200, used: 200, reserved: 0, left: 0 },
    ]);
    process.stderr.write(`${name}: 5 kills, ${answered} answered, ${sent()} sent, of 200\n`);
  }, 120_000);

  it("charge streams that are aborted for what was seen of them", async () => {
    await use("aborted", "{ requests: 1000, outputTokens: 100000, dollars: 1 }");
    const agent = agents.at(-1)!;
    const connection = agent.connect();
    connection.write(chat(agent, { model: "stand-in-endless", stream: true, max_tokens: 90_000 }));
    await connection.until((bytes) => bytes.toString().split("data: ").length > 5);
    const underWay = (await counters("aborted")).find(({ unit }) => unit === "outputTokens");
    expect(underWay).toMatchObject({ used: 0, reserved: 90_000 });
    connection.destroy();
    await expect
      .poll(async () => (await counters("aborted")).map(({ reserved }) => reserved), { timeout: 20_000 })
      .toEqual([0, 0, 0]);
    const charged = Object.fromEntries((await counters("aborted")).map(({ unit, used }) => [unit, used]));
    expect(charged["requests"]).toBe(1);
    expect(charged["outputTokens"]).toBeGreaterThan(0);
    expect(charged["outputTokens"]).toBeLessThan(90_000);
    expect(charged["micro-dollars"]).toBeGreaterThan(8 * charged["outputTokens"]!);
  }, 60_000);

  it("get back what a killed gateway held, by themselves", async () => {
    await use("held", "{ outputTokens: 100000 }");
    const index = gateways.length - 1;
    const connection = agents[index]!.connect();
    connection.write(chat(agents[index]!, { model: "stand-in-endless", stream: true, max_tokens: 900 }));
    await connection.until((bytes) => bytes.toString().split("data: ").length > 5);
    expect(await counters("held")).toMatchObject([{ used: 0, reserved: 900 }]);
    await killAndRestart(index, Promise.resolve([]));
    await expect
      .poll(() => counters("held"), { timeout: 60_000, interval: 1000 })
      .toMatchObject([{ used: 0, reserved: 0 }]);
  }, 90_000);
});

describe.skipIf(!hasRedis())("a Redis that is away", () => {
  it("means that requests with a budget are refused with the reason, and others go on", async () => {
    const server = await startRedis();
    const file = join(scratch, "redis-url-away");
    writeFileSync(file, server.freshUrl(), { mode: 0o600 });
    const gateway = await startPostern({ args: ["--budget-url", `file:${file}`] });
    try {
      for (const [secret, value] of Object.entries(standIns.secrets)) await gateway.setSecret(secret, value);
      await gateway.apply(standIns.resources({ agents: ["first-agent", "second-agent"] }));
      await gateway.apply(budget("away", "{ requests: 10 }"));
      const counted = await RunningAgent.start({ folder: gateway.folder, agent: "first-agent" });
      const free = await RunningAgent.start({ folder: gateway.folder, agent: "second-agent" });
      expect((await counted.send(chat(counted))).status).toBe(200);
      await server.kill();
      const refused = await counted.send(chat(counted));
      expect(refused).toMatchObject({ status: 503, code: "control_plane_unavailable" });
      expect(refused.detail).toContain("budgets");
      expect((await free.send(chat(free))).status).toBe(200);
      const status = await gateway.postern(["status"]);
      expect(status.stdout).toContain("budget store");
      await server.start();
      await expect
        .poll(async () => (await counted.send(chat(counted))).status, { timeout: 15_000 })
        .toBe(200);
      for (const agent of [counted, free]) await agent.stop();
      // Where it is away from the beginning, the server says so and does not start.
      await server.kill();
      const late = startPostern({ args: ["--budget-url", `file:${file}`] });
      await expect(late).rejects.toThrow("cannot be reached");
    } finally {
      await gateway.stop();
      await server.remove();
    }
  }, 60_000);
});
