// SPDX-License-Identifier: Apache-2.0
/**
 * What does one decision cost? `node bench/decide.bench.ts` prints JSON, times in microseconds unless named.
 *
 * "spread": each policy names its own agent, so a slice holds one. "one slice": all name the same agent.
 */
import process from "node:process";

const start = performance.now();
const { decide } = await import("../packages/server/src/policy/decide.ts");
const { compilePolicies } = await import("../packages/server/src/policy/compile.ts");
const { ResourceSet } = await import("../packages/server/src/resources/resource-set.ts");
const importMs = performance.now() - start;

type Compiled = Extract<ReturnType<typeof compilePolicies>, { ok: true }>["value"];

function compile(count: number, isSpread: boolean): { compiled: Compiled; compileMs: number } {
  const policies = Array.from({ length: count }, (_, index) => ({
    kind: "AccessPolicy" as const,
    metadata: { name: `p${index}` },
    spec: {
      agents: [isSpread ? `agent-${index}` : "agent-0"],
      serverWorkload: "openai",
      credentialProvider: "key",
      allow: {
        operations: ["chat.completions", "responses"],
        models: [`gpt-${index}`, `gpt-${index}-mini`],
        pathPatterns: ["/v1/chat/*", "/v1/responses*"],
      },
    },
  }));
  const started = performance.now();
  const result = compilePolicies(new ResourceSet(policies));
  if (!result.ok) throw new Error("the benchmark's policies do not compile");
  return { compiled: result.value, compileMs: performance.now() - started };
}

const request = (path: string) => ({
  agent: "agent-0",
  serverWorkload: "openai",
  operation: "chat.completions",
  model: "gpt-0",
  method: "POST",
  path,
});

/** Sorted times of single calls. */
function measure(rounds: number, call: (round: number) => { outcome: string }): { p50: number; p99: number } {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const started = process.hrtime.bigint();
    const { outcome } = call(round);
    times.push(Number(process.hrtime.bigint() - started) / 1000);
    if (outcome !== "allow") throw new Error("the benchmark's request was denied");
  }
  times.sort((a, b) => a - b);
  const at = (share: number): number =>
    Math.round((times[Math.floor(times.length * share)] ?? 0) * 100) / 100;
  return { p50: at(0.5), p99: at(0.99) };
}

const first = compile(10, true);
const firstStarted = performance.now();
decide(first.compiled, request("/v1/chat/first"));
const firstDecideMs = performance.now() - firstStarted;

const rows = [
  { policies: 10, isSpread: true, rounds: 20_000 },
  { policies: 1000, isSpread: true, rounds: 20_000 },
  { policies: 10, isSpread: false, rounds: 20_000 },
  { policies: 1000, isSpread: false, rounds: 500 },
].map(({ policies, isSpread, rounds }) => {
  const { compiled, compileMs } = compile(policies, isSpread);
  decide(compiled, request("/v1/chat/warm"));
  const uncached = measure(rounds, (round) => decide(compiled, request(`/v1/chat/${round}`)));
  const cached = measure(rounds, () => decide(compiled, request("/v1/chat/again")));
  return {
    policies,
    layout: isSpread ? "spread" : "one slice",
    compileMs: Math.round(compileMs),
    uncached,
    cached,
  };
});

process.stdout.write(
  `${JSON.stringify({ node: process.version, importMs, firstCompileMs: first.compileMs, firstDecideMs, rows }, null, 2)}\n`,
);
