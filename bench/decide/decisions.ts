// SPDX-License-Identifier: Apache-2.0
/**
 * What does one decision cost, in microseconds, and does it grow with the number of policies and agents?
 *
 * Ten agents call at a time, others in each round: so the sets differ, and not how much the processor's caches have to
 * hold. What that adds is measured too: `fromAll` draws the agent of each call from all of them.
 */
import process from "node:process";
import { compilePolicies, type CompiledPolicies } from "../../packages/server/src/policy/compile.ts";
import { decide } from "../../packages/server/src/policy/decide.ts";
import { ResourceSet } from "../../packages/server/src/resources/resource-set.ts";

export interface Quantiles {
  readonly p50Us: number;
  readonly p99Us: number;
}

export interface DecisionRow {
  readonly policies: number;
  readonly agents: number;
  readonly compileMs: number;
  /** The policies of an agent have never been asked before. */
  readonly first: Quantiles;
  readonly uncached: Quantiles;
  readonly cached: Quantiles;
  /** Neither decided before, nor an agent that has just called. */
  readonly fromAll: Quantiles;
}

interface Set {
  readonly policies: number;
  readonly agents: number;
  readonly compiled: CompiledPolicies;
  readonly compileMs: number;
}

const SIZES = [
  [10, 10],
  [1000, 10_000],
  [10_000, 100_000],
] as const;

/** Each set in turn, so that what else the machine does falls on all of them. */
const ROUNDS = 20;
const WARM_UP = 2;
/** Agents at a time. */
const CALLING = 10;
const CALLS = 2000;
const QUESTIONS = 1000;
/** One call is too short for the clock. */
const BATCH = 50;

export function measureDecisions(): DecisionRow[] {
  const sets = SIZES.map(([policies, agents]) => compile(policies, agents));
  const rows = sets.map((set) => ({
    first: timesOf(set.policies, (n) => mustAllow(set, n, "/v1/chat/first")),
    ...{ uncached: [] as number[], cached: [] as number[], fromAll: [] as number[] },
  }));
  for (let round = -WARM_UP; round < ROUNDS; round++)
    for (const [index, set] of sets.entries()) {
      const calling = Array.from({ length: CALLING }, () => drawn(set.agents));
      const agentOf = (n: number): number => calling[n % CALLING]!;
      const uncached = timesOf(CALLS, (n) => mustAllow(set, agentOf(n), `/v1/chat/${round}/${n}`));
      const cached = cachedTimes(set, agentOf);
      const fromAll = timesOf(CALLS, (n) => mustAllow(set, drawn(set.agents), `/v1/chat/all/${round}/${n}`));
      if (round < 0) continue;
      rows[index]!.uncached.push(...uncached);
      rows[index]!.cached.push(...cached);
      rows[index]!.fromAll.push(...fromAll);
    }
  return sets.map(({ policies, agents, compileMs }, index) => {
    const { first, uncached, cached, fromAll } = rows[index]!;
    return {
      ...{ policies, agents, compileMs, first: quantiles(first), uncached: quantiles(uncached) },
      ...{ cached: quantiles(cached), fromAll: quantiles(fromAll) },
    };
  });
}

/** Of one length: longer names take longer. */
const numbered = (name: string, index: number): string => `${name}-${String(index).padStart(6, "0")}`;

function compile(policies: number, agents: number): Set {
  const each = agents / policies;
  const resources = Array.from({ length: policies }, (_, index) => ({
    kind: "AccessPolicy" as const,
    metadata: { name: numbered("p", index) },
    spec: {
      agents: Array.from({ length: each }, (_none, n) => numbered("agent", index + n * policies)),
      serverWorkload: "openai",
      credentialProvider: "key",
      mode: "enforce" as const,
      allow: {
        operations: ["chat.completions", "responses"],
        models: [numbered("gpt", index), numbered("gpt-mini", index)],
        pathPatterns: ["/v1/chat/*", "/v1/responses*"],
      },
    },
  }));
  const started = performance.now();
  const result = compilePolicies(new ResourceSet(resources));
  if (!result.ok) throw new Error("the benchmark's policies do not compile");
  return { policies, agents, compiled: result.value, compileMs: Math.round(performance.now() - started) };
}

function mustAllow({ compiled, policies }: Set, agent: number, path: string): void {
  const request = {
    agent: numbered("agent", agent),
    serverWorkload: "openai",
    operation: "chat.completions",
    model: numbered("gpt", agent % policies),
    method: "POST",
    path,
  };
  if (decide(compiled, request).outcome !== "allow") throw new Error("the benchmark's request was denied");
}

const drawn = (agents: number): number => Math.floor(Math.random() * agents);

function cachedTimes(set: Set, agentOf: (n: number) => number): number[] {
  const ask = (n: number): void => mustAllow(set, agentOf(n), `/v1/chat/again/${n % QUESTIONS}`);
  for (let n = 0; n < QUESTIONS; n++) ask(n);
  return timesOf(QUESTIONS / BATCH, (batch) => {
    for (let n = 0; n < BATCH; n++) ask(batch + n * (QUESTIONS / BATCH));
  }).map((time) => time / BATCH);
}

/** In microseconds. */
function timesOf(count: number, call: (n: number) => void): number[] {
  const times: number[] = [];
  for (let n = 0; n < count; n++) {
    const started = process.hrtime.bigint();
    call(n);
    times.push(Number(process.hrtime.bigint() - started) / 1000);
  }
  return times;
}

function quantiles(times: number[]): Quantiles {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number => Math.round(sorted[Math.floor(sorted.length * share)]! * 100) / 100;
  return { p50Us: at(0.5), p99Us: at(0.99) };
}
