// SPDX-License-Identifier: Apache-2.0
/**
 * Counts requests that are over: in memory, with maps of maps, well under a microsecond each.
 *
 * Labels are names of registered agents, server workloads and operations, and codes of the table of problems. What an
 * agent chooses freely (paths, models, methods) is no label. One agent may cause a bounded number of series; what
 * comes after them is counted under `_other`, which is no name of a resource.
 */
import { STATUS_CODES } from "node:http";
import { PROBLEMS } from "@postern/contract";
import type { EndedDecision, EndedOutcome, EndedTiming, ExchangeListener } from "./exchange.ts";
import { Histogram, type Labels, type MetricFamily, type Sample } from "./metric-family.ts";

const MOST_AGENTS = 1000;
/** Of one agent: places where it called, and results there. */
const MOST_PLACES = 256;
const MOST_RESULTS = 1000;
const OTHER = "_other";

/** The boundaries of the OpenTelemetry conventions, and beyond them: a streamed answer takes minutes. */
const DURATIONS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const ADDED = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];
const TOKENS = Array.from({ length: 14 }, (_, power) => 4 ** power);

/** Counters of the profiles, as the OpenTelemetry conventions for generative AI call them where they do. */
const TOKEN_TYPES: Readonly<Record<string, string>> = {
  inputTokens: "input",
  outputTokens: "output",
  cacheReadTokens: "cache_read",
  cacheWriteTokens: "cache_write",
  thoughtTokens: "thought",
};

/** What one agent did with one operation of one server workload. */
class Place {
  readonly duration = new Histogram(DURATIONS);
  readonly results = new Map<string, Map<number, number>>();
  readonly tokens = new Map<string, Histogram>();
  requestBytes = 0;
  responseBytes = 0;
  scrubbed = 0;
  /** Decisions with a policy in dry-run: as they were, otherwise allowed, otherwise denied. */
  dryRun: { same: number; allow: number; deny: number } | undefined;
}

class AgentSeries {
  readonly places = new Map<string, Map<string, Place>>();
  placeCount = 0;
  resultCount = 0;

  place(serverWorkload: string, operation: string): Place {
    const found = this.places.get(serverWorkload)?.get(operation);
    if (found !== undefined) return found;
    if (this.placeCount >= MOST_PLACES && operation !== OTHER) return this.place(OTHER, OTHER);
    this.placeCount++;
    const place = new Place();
    const ofWorkload = this.places.get(serverWorkload);
    if (ofWorkload === undefined) this.places.set(serverWorkload, new Map([[operation, place]]));
    else ofWorkload.set(operation, place);
    return place;
  }

  forget(isGone: (serverWorkload: string) => boolean): void {
    for (const [workload, operations] of this.places) {
      if (!isGone(workload)) continue;
      this.places.delete(workload);
      this.placeCount -= operations.size;
      for (const { results } of operations.values())
        for (const statuses of results.values()) this.resultCount -= statuses.size;
    }
  }

  /** `result`: a code of the table, or how an exchange ended that was not refused. */
  count(place: Place, result: string, status: number): void {
    let statuses = place.results.get(result);
    if (statuses === undefined) place.results.set(result, (statuses = new Map()));
    let known = statuses.get(status);
    if (known === undefined) {
      // Past the limit by status no more: codes alone are few.
      if (this.resultCount >= MOST_RESULTS) return void statuses.set(0, (statuses.get(0) ?? 0) + 1);
      this.resultCount++;
      known = 0;
    }
    statuses.set(status, known + 1);
  }
}

/** Seen from the other side: how quick the gateway and one upstream are, whoever calls. */
class UpstreamSeries {
  readonly added = new Histogram(ADDED);
  readonly firstByte = new Histogram(DURATIONS);
}

/** What there is now: names of the past are forgotten at the next scrape, so that they do not pile up. */
export interface Registered {
  readonly agents: ReadonlyMap<string, unknown>;
  readonly serverWorkloads: ReadonlyMap<string, unknown>;
}

export class ExchangeMetrics implements ExchangeListener {
  readonly #agents = new Map<string, AgentSeries>();
  readonly #upstreams = new Map<string, UpstreamSeries>();

  ended(decision: EndedDecision | undefined, outcome: EndedOutcome, timing: EndedTiming): void {
    const workload = outcome.serverWorkload ?? "";
    const agent = this.#agent(outcome.agent ?? "");
    const place = agent.place(workload, decision?.operation ?? "");
    agent.count(place, outcome.code ?? outcome.ended, statusOf(outcome));
    place.duration.observe((timing.ended - timing.begun) / 1000);
    // In and out as the upstream sees it: what comes in from there goes to the agent.
    place.requestBytes += outcome.bytesOut;
    place.responseBytes += outcome.bytesIn;
    place.scrubbed += outcome.scrubbed;
    if (decision?.dryRun !== undefined) countDryRun(place, decision.outcome, decision.dryRun.outcome);
    if (outcome.usage !== undefined) countTokens(place, outcome.usage);
    if (timing.answered !== undefined) this.#countUpstream(workload, timing);
  }

  collect(registered: Registered): readonly MetricFamily[] {
    const isKept = (name: string, known: ReadonlyMap<string, unknown>): boolean =>
      name === "" || name === OTHER || known.has(name);
    for (const [name, agent] of this.#agents) {
      if (!isKept(name, registered.agents)) this.#agents.delete(name);
      else agent.forget((workload) => !isKept(workload, registered.serverWorkloads));
    }
    for (const name of this.#upstreams.keys())
      if (!isKept(name, registered.serverWorkloads)) this.#upstreams.delete(name);
    return [...this.#placeFamilies(), ...this.#upstreamFamilies()];
  }

  #agent(name: string): AgentSeries {
    const found = this.#agents.get(name);
    if (found !== undefined) return found;
    if (this.#agents.size >= MOST_AGENTS && name !== OTHER) return this.#agent(OTHER);
    const series = new AgentSeries();
    this.#agents.set(name, series);
    return series;
  }

  #countUpstream(workload: string, timing: EndedTiming): void {
    let series = this.#upstreams.get(workload);
    if (series === undefined) this.#upstreams.set(workload, (series = new UpstreamSeries()));
    const { begun, connecting, connected, sent, answered, answering } = timing;
    if (sent === undefined || answered === undefined) return;
    series.firstByte.observe((answered - sent) / 1000);
    if (answering === undefined) return;
    const waiting = answered - sent + (connected ?? 0) - (connecting ?? 0);
    series.added.observe(Math.max(0, answering - begun - waiting) / 1000);
  }

  #placeFamilies(): MetricFamily[] {
    const samples = new Map<keyof typeof PLACE_METRICS, Sample[]>();
    const add = (metric: keyof typeof PLACE_METRICS, ...more: Sample[]): void => {
      const known = samples.get(metric);
      if (known === undefined) samples.set(metric, more);
      else known.push(...more);
    };
    for (const [agent, server_workload, operation, place] of this.#places()) {
      const labels = { agent, server_workload, operation };
      for (const [result, statuses] of place.results)
        for (const [status, value] of statuses)
          add("postern_requests", { labels: { ...labels, ...resultLabels(result, status) }, value });
      add("http_server_request_duration_seconds", ...place.duration.samples(labels));
      add("postern_request_body_bytes", { labels, value: place.requestBytes });
      add("postern_response_body_bytes", { labels, value: place.responseBytes });
      add("postern_scrubbed_secrets", { labels, value: place.scrubbed });
      if (place.dryRun !== undefined)
        for (const [would, value] of Object.entries(place.dryRun))
          add("postern_dry_run_decisions", { labels: { ...labels, would }, value });
      for (const [type, histogram] of place.tokens)
        add("gen_ai_client_token_usage", ...histogram.samples({ ...labels, gen_ai_token_type: type }));
    }
    return [...samples].map(([name, of]) => ({ name, ...PLACE_METRICS[name], samples: of }));
  }

  *#places(): Iterable<[agent: string, workload: string, operation: string, place: Place]> {
    for (const [agent, { places }] of this.#agents)
      for (const [workload, operations] of places)
        for (const [operation, place] of operations) yield [agent, workload, operation, place];
  }

  #upstreamFamilies(): MetricFamily[] {
    const all = [...this.#upstreams];
    const of = (pick: (series: UpstreamSeries) => Histogram): Sample[] =>
      all.flatMap(([server_workload, series]) => pick(series).samples({ server_workload }));
    return [
      {
        name: "postern_added_latency_seconds",
        help: "time until the answer goes to the agent, less the time spent connecting to and waiting for the upstream",
        type: "histogram",
        samples: of(({ added }) => added),
      },
      {
        name: "postern_upstream_first_byte_seconds",
        help: "time from sending the request to the head of the upstream's answer",
        type: "histogram",
        samples: of(({ firstByte }) => firstByte),
      },
    ];
  }
}

const PLACE_METRICS = {
  postern_requests: { type: "counter", help: "requests that are over; code is empty where none was refused" },
  http_server_request_duration_seconds: {
    type: "histogram",
    help: "time from the head of a request to the end of its answer",
  },
  postern_request_body_bytes: { type: "counter", help: "bytes of request bodies sent to upstreams" },
  postern_response_body_bytes: { type: "counter", help: "bytes of answers sent to agents" },
  postern_dry_run_decisions: {
    type: "counter",
    help: "decisions with an access policy in dry-run: what it would have made of them, if it were enforced",
  },
  postern_scrubbed_secrets: { type: "counter", help: "secrets of the vault that were taken out of answers" },
  gen_ai_client_token_usage: {
    type: "histogram",
    help: "tokens that one answer reports as used; the sum is what was used in all",
  },
} as const satisfies Record<string, Pick<MetricFamily, "type" | "help">>;

function countDryRun(place: Place, outcome: "allow" | "deny", would: "allow" | "deny"): void {
  place.dryRun ??= { same: 0, allow: 0, deny: 0 };
  place.dryRun[would === outcome ? "same" : would]++;
}

function countTokens(place: Place, usage: Readonly<Record<string, number>>): void {
  for (const counter in usage) {
    const type = TOKEN_TYPES[counter] ?? OTHER;
    let histogram = place.tokens.get(type);
    if (histogram === undefined) place.tokens.set(type, (histogram = new Histogram(TOKENS)));
    histogram.observe(usage[counter]!);
  }
}

const codeStatus = new Map<string, number>(
  Object.entries(PROBLEMS).map(([code, { status }]) => [code, status]),
);
const knownStatus = new Set(Object.keys(STATUS_CODES).map(Number));

/** What the agent got; a status that nobody registered counts as the first of its class, and 0 is none. */
function statusOf({ status, code }: EndedOutcome): number {
  if (status === undefined) return code === undefined ? 0 : (codeStatus.get(code) ?? 0);
  return knownStatus.has(status) ? status : Math.trunc(status / 100) * 100;
}

function resultLabels(result: string, status: number): Labels {
  const isRefusal = codeStatus.has(result);
  return {
    outcome: isRefusal ? "refused" : result,
    code: isRefusal ? result : "",
    http_response_status_code: status === 0 ? "" : String(status),
  };
}
