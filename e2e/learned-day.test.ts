// SPDX-License-Identifier: Apache-2.0
/**
 * Is what is learned from a day of an agent a policy under which the same day passes and an attack does not?
 *
 * The day has several hosts, operations, models and hours; each attack differs in one thing from what was seen.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Postern, type StandIns, startPostern, startStandIns } from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

const FAKETIME = ["x86_64", "aarch64"]
  .map((arch) => `/usr/lib/${arch}-linux-gnu/faketime/libfaketimeMT.so.1`)
  .find((path) => existsSync(path));

/** One request; a body makes it a POST unless another method is named. */
interface Asked {
  readonly to: "openai" | "anthropic" | "gemini";
  readonly path: string;
  readonly method?: string;
  readonly body?: object | string;
}

/** Tomorrow: certificates of the stand-ins are good for two days, and the clock is set ahead more surely than back. */
const DAY = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
const NEXT_DAY = new Date(Date.now() + 2 * 86_400_000).toISOString().slice(0, 10);
const WEEKDAY = new Date(`${DAY}T12:00:00Z`).toLocaleDateString("en", { weekday: "long", timeZone: "UTC" });
const HOURS = [9, 10, 11, 12, 13, 14, 15, 16];
const [AGENT, NEIGHBOUR] = ["worker", "neighbour"];
const WORKLOADS = ["openai", "anthropic", "gemini"] as const;
const said = [{ role: "user", content: "hi" }];

const chat = (model: string, more: object = { max_tokens: 200 }): Asked => ({
  to: "openai",
  path: "/v1/chat/completions",
  body: { model, messages: said, ...more },
});
const embed = (model: string): Asked => ({
  to: "openai",
  path: "/v1/embeddings",
  body: { model, input: "hi" },
});
const message = (model: string, max_tokens = 300): Asked => ({
  to: "anthropic",
  path: "/v1/messages",
  body: { model, max_tokens, messages: said },
});
const count = (model: string): Asked => ({
  to: "anthropic",
  path: "/v1/messages/count_tokens",
  body: { model, messages: said },
});
const gemini = (model: string, what: string, version = "v1beta"): Asked => ({
  to: "gemini",
  path: `/${version}/models/${model}:${what}`,
  body: { contents: [{ parts: [{ text: "hi" }] }] },
});
const openai = (path: string, method = "GET"): Asked => ({ to: "openai", path, method });

/** What the agent does in an hour. Some is done every hour, some not. */
const workOf = (hour: number): Asked[] => [
  chat("gpt-4o-mini"),
  chat("gpt-4o-mini", { max_tokens: 1000 }),
  chat("gpt-4o-mini", { max_tokens: hour }),
  embed("text-embedding-3-small"),
  embed("text-embedding-3-small"),
  openai("/v1/organization/acct-17/usage"),
  openai("/v1/files/file-acct17"),
  message("claude-sonnet-5"),
  message("claude-sonnet-5", 1000),
  message("claude-haiku-5-5"),
  count("claude-sonnet-5"),
  gemini("gemini-2.5-flash", "generateContent"),
  gemini("gemini-2.5-flash", "generateContent"),
  gemini("gemini-2.5-flash", "streamGenerateContent"),
  ...(hour % 2 === 0 ? [chat("gpt-4o"), openai("/v1/models"), openai("/v1/files/file-acct17/content")] : []),
  ...(hour === 15 ? [gemini("gemini-embedding-001", "embedContent")] : []),
];

let standIns: StandIns;
let postern: Postern;
let scratch: string;
let worker: RunningAgent;
let neighbour: RunningAgent;
let firstDay: number[];

const at = (date: string, time: string): void => {
  const shift = Math.round((Date.parse(`${date}T${time}Z`) - Date.now()) / 1000);
  writeFileSync(join(scratch, "time"), `${shift < 0 ? "" : "+"}${shift}\n`);
};

async function ask({ to, path, method, body }: Asked, agent = worker): Promise<number> {
  const text = typeof body === "string" ? body : body === undefined ? "" : JSON.stringify(body);
  const verb = method ?? "POST";
  const type =
    body === undefined ? "" : "Content-Type: application/json\r\nAnthropic-Version: 2023-06-01\r\n";
  const head = `${verb} /${to}${path} HTTP/1.1\r\nHost: ${agent.authority}\r\n${type}`;
  const { status } = await agent.send(`${head}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
  return status;
}

/** The statuses of a working day, in order. */
async function work(): Promise<number[]> {
  const statuses: number[] = [];
  for (const hour of HOURS) {
    at(DAY, `${String(hour).padStart(2, "0")}:12:00`);
    for (const asked of workOf(hour)) statuses.push(await ask(asked));
  }
  return statuses;
}

const sent = (): number => WORKLOADS.reduce((sum, name) => sum + standIns[name].requests.length, 0);

function file(name: string, text: string): string {
  writeFileSync(join(scratch, name), text);
  return join(scratch, name);
}

const CONDITIONS = `\
kind: AccessCondition
metadata: { name: office-hours }
spec: { kind: time, zone: UTC, weekdays: [${WEEKDAY.toLowerCase()}], hours: ["09:00-17:00"] }
---
kind: AccessCondition
metadata: { name: modest }
spec: { kind: request, body: [{ pointer: /max_tokens, max: 1000 }] }
`;

/** Allows nothing and forbids nothing: it is there so that its conditions are judged, and so learned. */
const watch = (name: string): string => `\
---
kind: AccessPolicy
metadata: { name: watch-${name} }
spec:
  mode: dry-run
  agents: [${AGENT}]
  serverWorkload: ${name}
  credentialProvider: ${name}-credential
  conditions: [office-hours, modest]
  allow: { everything: true }
`;

beforeAll(async () => {
  if (FAKETIME === undefined) return;
  scratch = mkdtempSync(join(tmpdir(), "postern-day-"));
  standIns = await startStandIns();
  at(DAY, "00:00:00");
  postern = await startPostern({
    env: {
      LD_PRELOAD: FAKETIME,
      FAKETIME_TIMESTAMP_FILE: join(scratch, "time"),
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    },
  });
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  const broad = standIns
    .resources({ agents: [AGENT, NEIGHBOUR] })
    .replaceAll(/^ {2}allow: .*$/gm, "  allow: { everything: true }");
  await postern.apply(`${broad}---\n${CONDITIONS}${WORKLOADS.map(watch).join("")}`);
  worker = await RunningAgent.start({ folder: postern.folder, agent: AGENT });
  neighbour = await RunningAgent.start({ folder: postern.folder, agent: NEIGHBOUR });
  firstDay = await work();
}, 120_000);

afterAll(async () => {
  await Promise.all([worker?.stop(), neighbour?.stop()]);
  await postern?.stop();
  await standIns?.close();
  if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
});

/** What differs in one thing from what was seen. */
const ATTACKS: readonly [what: string, asked: Asked][] = [
  ["another operation of the same host", { ...chat("gpt-4o-mini"), path: "/v1/completions" }],
  ["a newer form of the same operation", { ...chat("gpt-4o-mini"), path: "/v1/responses" }],
  ["an operation that costs more", { ...embed("gpt-4o-mini"), path: "/v1/images/generations" }],
  ["no known operation", openai("/v1/organization/acct-17/api_keys")],
  ["another model", chat("gpt-5")],
  ["another model of another host", message("claude-opus-5-5")],
  ["another model in a path", gemini("gemini-2.5-pro", "generateContent")],
  ["a dated version of the model", chat("gpt-4o-mini-2024-07-18")],
  ["the model in capitals", chat("GPT-4O-MINI")],
  ["the model with a space", chat("gpt-4o-mini ")],
  ["a pattern for a model", chat("*")],
  ["no model", { ...chat("x"), body: { messages: said, max_tokens: 200 } }],
  ["a model of another operation", embed("gpt-4o-mini")],
  ["an operation of another model", count("claude-haiku-5-5")],
  ["an operation and a model that were never together", gemini("gemini-embedding-001", "generateContent")],
  ["another version of the same operation", gemini("gemini-2.5-flash", "generateContent", "v1")],
  [
    "another way to the same model",
    { ...chat("gemini-2.5-flash"), to: "gemini", path: "/v1beta/openai/chat/completions" },
  ],
  ["another account", openai("/v1/organization/acct-18/usage")],
  ["an account whose name goes on", openai("/v1/organization/acct-171/usage")],
  ["another account's file", openai("/v1/files/file-acct18")],
  ["the content of another file", openai("/v1/files/file-acct18/content")],
  ["another method on the same path", openai("/v1/files/file-acct17", "DELETE")],
  ["another method on a path that is no operation", openai("/v1/organization/acct-17/usage", "POST")],
  ["a path below", openai("/v1/organization/acct-17/usage/")],
  ["a larger limit", chat("gpt-4o-mini", { max_tokens: 1001 })],
  ["a far larger limit at another host", message("claude-sonnet-5", 1_000_000)],
  ["no limit", chat("gpt-4o-mini", {})],
  ["a limit of another name", chat("gpt-4o-mini", { max_completion_tokens: 200 })],
  ["a limit that is a text", chat("gpt-4o-mini", { max_tokens: "200" })],
  [
    "two limits",
    { ...chat("x"), body: '{"model":"gpt-4o-mini","max_tokens":1,"max_tokens":100000,"messages":[]}' },
  ],
];

/** A request of each kind that was seen. */
const SEEN = [
  ...new Map(
    workOf(14)
      .concat(workOf(15))
      .map((asked) => [JSON.stringify(asked), asked]),
  ).values(),
];

describe.skipIf(FAKETIME === undefined)("a policy that was learned from a day", () => {
  it("is said by simulate and diff to keep what was done and to take the rest away", async () => {
    expect(firstDay).toHaveLength(HOURS.length * 14 + 4 * 3 + 1);
    expect(firstDay).not.toContain(403);
    expect(firstDay.filter((status) => status === 200).length).toBeGreaterThan(80);
    const learned = await postern.postern(["learn", AGENT]);
    expect([learned.code, learned.stderr]).toEqual([0, ""]);
    expect(learned.stdout).toContain("conditions: [modest, office-hours] # held each time");
    const change = file("learned.yaml", learned.stdout);
    const same = await postern.postern(["simulate", "-f", change, ...without("agents-may-use")]);
    expect([same.code, same.stdout]).toEqual([0, "125 decisions: 125 decided again, 125 of them as now\n"]);
    // What it adds is nothing while the broad policies are there.
    const { code, stdout } = await postern.postern(["diff", "-f", change]);
    expect(code).toBe(0);
    expect(stdout).not.toContain("would gain");
    expect((await postern.postern(["apply", "-f", change])).code).toBe(0);
    for (const name of WORKLOADS)
      for (const policy of [`agents-may-use-${name}`, `watch-${name}`])
        expect((await postern.postern(["delete", "accesspolicy", policy])).code).toBe(0);
  });

  it("lets the same day pass as it did", async () => {
    expect(await work()).toEqual(firstDay);
  });

  it("refuses each request of an attack, before anything leaves", async () => {
    at(DAY, "11:12:00");
    const before = sent();
    const got: Record<string, number> = {};
    for (const [what, asked] of ATTACKS) got[what] = await ask(asked);
    expect(got).toEqual(Object.fromEntries(ATTACKS.map(([what]) => [what, 403])));
    for (const asked of SEEN) expect(await ask(asked, neighbour)).toBe(403);
    for (const [date, time] of OUTSIDE) {
      at(date, time);
      for (const asked of SEEN) expect(await ask(asked), `${date} ${time}`).toBe(403);
    }
    expect(sent()).toBe(before);
    at(DAY, "11:12:00");
    for (const asked of SEEN) expect(await ask(asked)).not.toBe(403);
    expect(sent()).toBeGreaterThan(before);
  });

  it("would newly allow nothing of the attack, and simulate knows it from the log", async () => {
    const change = ["simulate", "-f", join(scratch, "learned.yaml"), "--since", DAY];
    const { code, stdout } = await postern.postern([...change, "--json"]);
    expect(code).toBe(0);
    const { decisions, unchanged } = JSON.parse(stdout) as { decisions: number; unchanged: number };
    expect(decisions).toBeGreaterThan(2 * firstDay.length + ATTACKS.length);
    expect(unchanged).toBeGreaterThan(2 * firstDay.length);
  });
});

const OUTSIDE = [
  [DAY, "08:59:00"],
  [DAY, "17:00:02"],
  [NEXT_DAY, "11:12:00"],
] as const;

const without = (prefix: string): string[] => WORKLOADS.flatMap((name) => ["--without", `${prefix}-${name}`]);
