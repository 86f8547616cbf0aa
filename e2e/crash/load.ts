// SPDX-License-Identifier: Apache-2.0
/** Clients that change things at a server until it dies, and agents that call through it; all they heard is kept. */
import { setTimeout as delay } from "node:timers/promises";
import { newMarkedSecret, type StandIns } from "@postern/testkit";
import type { RunningAgent } from "../run-agent.ts";
import { ask, jsonOf, Unanswered } from "../control-socket.ts";
import type { Ledger, State } from "./ledger.ts";
import { chanceFrom, type Chance } from "./random.ts";

/** What an acknowledged change must have left in the audit log: so many events with these words. */
export type Traces = Map<string, number>;

export interface Heard {
  readonly ledger: Ledger;
  /** Since the last crash. */
  readonly traces: Traces;
  /** Audit ids of answers that agents got since the last crash. */
  readonly answered: string[];
  /** Faults that no kill explains. */
  readonly complaints: string[];
  /** Every secret that was ever sent, by name and number, for the search at the end. */
  readonly secrets: Record<string, string>;
}

export interface Target {
  readonly folder: string;
  readonly standIns: StandIns;
  /** Where the next master key goes, where it is not in the data folder. */
  readonly nextKey: () => string | undefined;
}

export const PROVIDERS = ["openai", "anthropic", "gemini"] as const;
export const STATE_AGENTS = ["state-a", "state-b"] as const;
const SETS = ["one", "two"] as const;
const MEMBERS = ["a", "b", "c"] as const;
const SINGLES = ["single-a", "single-b", "single-c"] as const;
const SPARES = ["spare-a", "spare-b"] as const;

export const setMembers = (set: string): string[] => MEMBERS.map((member) => `set-${set}-${member}`);
export const THINGS = { sets: SETS, singles: SINGLES, spares: SPARES } as const;

export const agentYaml = (name: string, generation: State): string =>
  `kind: Agent\nmetadata: { name: ${name}, description: "generation ${generation}" }\n` +
  `spec: { trustProvider: local, selectors: ["process:agent=${name}"] }\n`;

/** Several agents and a policy about them, which belong together: never some of them. */
const setYaml = (set: string, generation: string): string =>
  [
    ...setMembers(set).map((name) => agentYaml(name, generation)),
    `kind: AccessPolicy\nmetadata: { name: set-${set}, description: "generation ${generation}" }\n` +
      `spec: { agents: ${JSON.stringify(setMembers(set))}, serverWorkload: openai, credentialProvider: openai-credential, ` +
      `allow: { models: ["model-${generation}"] } }\n`,
  ].join("---\n");

type Step = (chance: Chance) => Promise<void>;

/** Starts all clients; resolves when each has noticed that the server is gone. */
export async function loadUntilDeath(
  target: Target,
  heard: Heard,
  seed: string,
  agent: RunningAgent,
): Promise<void> {
  const steps: Record<string, Step> = {
    ...Object.fromEntries(SETS.map((set) => [`set-${set}`, () => changeSet(target, heard, set)])),
    singles: (chance) => changeSingle(target, heard, chance),
    states: (chance) => changeState(target, heard, chance),
    secrets: (chance) => setCredential(target, heard, chance),
    spares: (chance) => changeSpare(target, heard, chance),
    keys: (chance) => rotateKey(target, heard, chance),
    backups: (chance) => takeBackup(target, heard, chance),
  };
  const clients = Object.entries(steps).map(([name, step]) =>
    untilDeath(step, chanceFrom(seed, name), heard, name),
  );
  const callers = Array.from({ length: 4 }, () => keepCalling(agent, heard.answered));
  await Promise.all([...clients, ...callers]);
}

async function untilDeath(step: Step, chance: Chance, heard: Heard, name: string): Promise<void> {
  try {
    for (;;) await step(chance);
  } catch (error) {
    if (!(error instanceof Unanswered)) heard.complaints.push(`${name}: ${String(error)}`);
  }
}

let generations = 0;
const nextGeneration = (): string => String(++generations);

async function change(
  target: Target,
  heard: Heard,
  what: {
    readonly thing: string;
    readonly wanted: (state: State) => boolean;
    readonly state: State | ((answer: Record<string, unknown>) => State);
    readonly request: readonly ["POST" | "PUT" | "DELETE", string, unknown?];
    readonly traces: readonly string[];
    /** Refusals that may come of what other clients do. */
    readonly mayRefuse?: boolean;
  },
): Promise<void> {
  await heard.ledger.change(what.thing, what.wanted, async () => {
    const [method, path, body] = what.request;
    const answer = await ask(target.folder, method, path, body);
    if (answer.status !== 200) {
      if (what.mayRefuse !== true || answer.status >= 500)
        throw new Error(`${method} ${path}: ${answer.status} ${answer.body.toString("utf8").slice(0, 300)}`);
      return { done: false, state: undefined };
    }
    for (const trace of what.traces) heard.traces.set(trace, (heard.traces.get(trace) ?? 0) + 1);
    const state =
      typeof what.state === "function" ? what.state(jsonOf(answer) as Record<string, unknown>) : what.state;
    return { done: true, state };
  });
}

const applied = (text: string) =>
  ["POST", "/v1/apply", { files: [{ name: "load", text }], dryRun: false }] as const;

async function changeSet(target: Target, heard: Heard, set: string): Promise<void> {
  const generation = nextGeneration();
  await change(target, heard, {
    thing: `set ${set}`,
    wanted: (state) => state === generation,
    state: generation,
    request: applied(setYaml(set, generation)),
    traces: [...setMembers(set), `set-${set}`].map((name) => `resource ${name}`),
  });
}

async function changeSingle(target: Target, heard: Heard, chance: Chance): Promise<void> {
  const name = chance.oneOf(SINGLES);
  const thing = `single ${name}`;
  const isDeletion = heard.ledger.sure(thing) !== undefined && chance.below(2) === 0;
  const generation = isDeletion ? undefined : nextGeneration();
  await change(target, heard, {
    thing,
    wanted: (state) => state === generation,
    state: generation,
    request: isDeletion ? ["DELETE", `/v1/resources/Agent/${name}`] : applied(agentYaml(name, generation)),
    traces: [`resource ${name}`],
  });
}

async function changeState(target: Target, heard: Heard, chance: Chance): Promise<void> {
  const agent = chance.oneOf(STATE_AGENTS);
  const verb = chance.oneOf(["cut", "restore"] as const);
  const reason = `reason ${nextGeneration()}`;
  const state = `${verb === "cut" ? "cut" : "active"} ${reason}`;
  await change(target, heard, {
    thing: `state ${agent}`,
    wanted: (seen) => seen === state,
    state,
    request: ["POST", `/v1/agents/${agent}/${verb}`, { reason }],
    traces: [`state ${agent} ${reason}`],
  });
}

/** Of a secret that a call carries, the value itself is what is compared. */
async function setCredential(target: Target, heard: Heard, chance: Chance): Promise<void> {
  const provider = chance.oneOf(PROVIDERS);
  const value = newMarkedSecret("sk-");
  heard.secrets[`${provider} ${nextGeneration()}`] = value;
  await change(target, heard, {
    thing: `credential ${provider}`,
    wanted: (state) => state === value,
    state: value,
    request: ["PUT", `/v1/secrets/${provider}-key`, Buffer.from(value)],
    traces: [`secret ${provider}-key`],
  });
}

/** Of one that nothing uses, the number of its newest version is. */
async function changeSpare(target: Target, heard: Heard, chance: Chance): Promise<void> {
  const name = chance.oneOf(SPARES);
  const thing = `spare ${name}`;
  const isDeletion = heard.ledger.sure(thing) !== undefined && chance.below(3) === 0;
  const before = Number(heard.ledger.sure(thing) ?? 0);
  const value = newMarkedSecret("sp-");
  if (!isDeletion) heard.secrets[`${name} ${nextGeneration()}`] = value;
  await change(target, heard, {
    thing,
    wanted: (state) => (isDeletion ? state === undefined : Number(state) > before),
    state: (answer) => (isDeletion ? undefined : String(answer["version"])),
    request: isDeletion
      ? ["DELETE", `/v1/secrets/${name}`]
      : ["PUT", `/v1/secrets/${name}`, Buffer.from(value)],
    traces: [`secret ${name}`],
  });
}

async function rotateKey(target: Target, heard: Heard, chance: Chance): Promise<void> {
  await delay(20 + chance.below(200));
  const to = target.nextKey();
  await change(target, heard, {
    thing: "master key",
    // The id of a key that the server makes is not known before its answer.
    wanted: (state) => state !== undefined,
    state: (answer) => String(answer["to"]),
    request: ["POST", "/v1/vault/rotate-key", to === undefined ? {} : { to }],
    traces: ["resource master key"],
    mayRefuse: true,
  });
}

async function takeBackup(target: Target, heard: Heard, chance: Chance): Promise<void> {
  await delay(chance.below(150));
  const { status, body } = await ask(target.folder, "POST", "/v1/backup", { withMasterKey: false });
  // Rotating at the same moment is a reason to refuse.
  if (status !== 200 && status !== 409)
    throw new Error(`backup: ${status} ${body.toString("utf8").slice(0, 300)}`);
  // What proves an archive whole is its end: the manifest, and two empty blocks after it.
  const isWhole = body.includes("manifest.json") && body.subarray(-1024).every((byte) => byte === 0);
  if (status === 200 && !isWhole)
    heard.complaints.push(`a backup of ${body.length} bytes was answered to its end, and is not whole`);
}

async function keepCalling(agent: RunningAgent, answered: string[]): Promise<void> {
  const connection = agent.connect();
  try {
    for (;;) {
      connection.write(callOf(agent, "openai"));
      const { headers } = await connection.answer();
      const id = headers["postern-audit-id"];
      if (id !== undefined) answered.push(id);
    }
  } catch {
    // The server is gone, which is what this is about.
  }
}

const CALLS = {
  openai: { path: "/openai/v1/chat/completions", body: { model: "gpt-4o-mini", messages: [] } },
  anthropic: {
    path: "/anthropic/v1/messages",
    body: { model: "claude-sonnet-5", max_tokens: 5, messages: [] },
  },
  gemini: { path: "/gemini/v1beta/models/gemini-2.5-flash:generateContent", body: { contents: [] } },
} as const;

export function callOf(agent: RunningAgent, provider: (typeof PROVIDERS)[number]): string {
  const { path, body } = CALLS[provider];
  const text = JSON.stringify(body);
  return `POST ${path} HTTP/1.1\r\nHost: ${agent.authority}\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
}
