// SPDX-License-Identifier: Apache-2.0
/** What does watching cost one request? `node bench/telemetry.bench.ts` prints JSON, nanoseconds per request. */
import { exchangeSpans } from "../packages/server/src/telemetry/exchange-spans.ts";
import { ExchangeMetrics } from "../packages/server/src/telemetry/exchange-metrics.ts";
import { exposition } from "../packages/server/src/telemetry/exposition.ts";
import { TraceExport } from "../packages/server/src/telemetry/trace-export.ts";
import { aDecision, anOutcome, aRefusal, timing } from "../packages/server/src/telemetry/exchange.fixture.ts";

const AGENTS = 20;
const OPERATIONS = 5;

function measure(rounds: number, call: (round: number) => unknown): number {
  for (let round = 0; round < rounds; round++) call(round);
  const started = process.hrtime.bigint();
  for (let round = 0; round < rounds; round++) call(round);
  return Math.round(Number(process.hrtime.bigint() - started) / rounds);
}

const decisions = Array.from({ length: OPERATIONS }, (_, i) => aDecision({ operation: `operation-${i}` }));
const outcomes = Array.from({ length: AGENTS }, (_, i) =>
  i % 4 === 0 ? aRefusal("access_denied", { agent: `agent-${i}` }) : anOutcome({ agent: `agent-${i}` }),
);
const metrics = new ExchangeMetrics();
const count = (round: number): void =>
  metrics.ended(decisions[round % OPERATIONS], outcomes[round % AGENTS]!, timing);
const traces = new TraceExport(
  () => Promise.resolve(true),
  () => {},
);
const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const marks: Record<string, number> = {};
const POINTS = ["begun", "decided", "connecting", "connected", "sent", "answered", "answering", "ended"];

const results = {
  pointsInTime: measure(500_000, () => {
    for (const point of POINTS) marks[point] = performance.now();
  }),
  metrics: measure(500_000, count),
  // A queue takes what fits and counts the rest: both are cheap, the first is measured.
  traceQueued: measure(1000, () => traces.ended(decisions[0], outcomes[1]!, timing, PARENT)),
  traceMadeLater: measure(20_000, () =>
    exchangeSpans({ decision: decisions[0], outcome: outcomes[1]!, timing, traceparent: PARENT }, () => 403),
  ),
};
const registered = {
  agents: new Map(outcomes.map(({ agent = "" }) => [agent, {}])),
  serverWorkloads: new Map([["openai", {}]]),
};
const started = performance.now();
const { text } = exposition(metrics.collect(registered), "prometheus");
const scrape = {
  milliseconds: Math.round((performance.now() - started) * 10) / 10,
  lines: text.split("\n").length,
  bytes: text.length,
};
process.stdout.write(`${JSON.stringify({ nanosecondsPerRequest: results, scrape }, undefined, 2)}\n`);
