// SPDX-License-Identifier: Apache-2.0
import { Scraped } from "@postern/testkit";
import { describe, expect, it } from "vitest";
import { aDecision, anOutcome, aRefusal, timing } from "./exchange.fixture.ts";
import { ExchangeMetrics } from "./exchange-metrics.ts";
import { exposition } from "./exposition.ts";

const registered = {
  agents: new Map([["demo-agent", {}]]),
  serverWorkloads: new Map([["openai", {}]]),
};

const scrape = (metrics: ExchangeMetrics, known = registered): Scraped =>
  new Scraped(exposition(metrics.collect(known), "prometheus").text);

const seriesOf = (scraped: Scraped): number => scraped.samples.length;

describe("metrics of requests", () => {
  it("do not grow with what an agent makes up", () => {
    const metrics = new ExchangeMetrics();
    metrics.ended(aDecision(), anOutcome(), timing);
    const before = seriesOf(scrape(metrics));
    for (let i = 0; i < 5000; i++) {
      const made = { method: `M${i}`, host: `h${i}.example`, model: `model-${i}`, run: `run-${i}` };
      metrics.ended(aDecision(made), anOutcome({ decisionId: `id-${i}` }), timing);
    }
    expect(seriesOf(scrape(metrics))).toBe(before);
  });

  it("stay bounded where an agent and a server together vary all they can", () => {
    const metrics = new ExchangeMetrics();
    for (let i = 0; i < 20_000; i++) {
      const outcome = anOutcome({ status: 100 + (i % 900), ended: i % 2 === 0 ? "complete" : "cut" });
      metrics.ended(aDecision({ operation: `o${i % 700}` }), outcome, timing);
    }
    const scraped = scrape(metrics);
    expect(scraped.of("postern_requests_total").length).toBeLessThan(1600);
    expect(scraped.of("http_server_request_duration_seconds_count").length).toBeLessThanOrEqual(257);
    // Nothing is lost by it.
    expect(scraped.value("postern_requests_total")).toBe(20_000);
    expect(scraped.value("postern_requests_total", { operation: "_other" })).toBeGreaterThan(1000);
  });

  it("count what policies in dry-run would do, apart from what was done", () => {
    const metrics = new ExchangeMetrics();
    const dryRun = (outcome: "allow" | "deny") => aDecision({ dryRun: { outcome } });
    for (const decision of [aDecision(), dryRun("allow"), dryRun("deny"), dryRun("deny")])
      metrics.ended(decision, anOutcome(), timing);
    const count = (would: string) => scrape(metrics).value("postern_dry_run_decisions_total", { would });
    expect([count("same"), count("allow"), count("deny")]).toEqual([1, 0, 2]);
  });

  it("of one agent do not crowd out another's", () => {
    const metrics = new ExchangeMetrics();
    for (let i = 0; i < 1000; i++)
      metrics.ended(aDecision({ operation: `o${i}` }), anOutcome({ agent: "hostile" }), timing);
    metrics.ended(aDecision(), anOutcome(), timing);
    const known = {
      ...registered,
      agents: new Map([
        ["demo-agent", {}],
        ["hostile", {}],
      ]),
    };
    expect(
      scrape(metrics, known).value("postern_requests_total", {
        agent: "demo-agent",
        operation: "chat.completions",
      }),
    ).toBe(1);
  });

  it("forget agents and server workloads that are no more", () => {
    const metrics = new ExchangeMetrics();
    for (let i = 0; i < 3000; i++) {
      const serverWorkload = `gone-${i}`;
      metrics.ended(aDecision({ serverWorkload }), anOutcome({ agent: `gone-${i}`, serverWorkload }), timing);
      metrics.ended(aDecision({ serverWorkload }), anOutcome({ serverWorkload }), timing);
    }
    expect(scrape(metrics).value("postern_requests_total", { agent: "_other" })).toBeGreaterThan(0);
    metrics.ended(aDecision(), anOutcome(), timing);
    const scraped = scrape(metrics);
    const names = scraped.of("postern_requests_total").map(({ labels }) => labels["server_workload"]);
    expect(new Set(names)).toEqual(new Set(["openai", "_other"]));
    expect(scraped.of("postern_added_latency_seconds_count")).toHaveLength(1);
  });

  it("count refusals by their code and the status that the agent got", () => {
    const metrics = new ExchangeMetrics();
    metrics.ended(aDecision(), aRefusal("access_denied"), timing);
    metrics.ended(undefined, aRefusal("agent_unidentified", { agent: "" }), timing);
    metrics.ended(undefined, anOutcome({ ended: "client_aborted" }), timing);
    const rows = scrape(metrics)
      .of("postern_requests_total")
      .map(({ labels }) => [
        labels["agent"],
        labels["outcome"],
        labels["code"],
        labels["http_response_status_code"],
      ]);
    expect(rows).toEqual([
      ["demo-agent", "refused", "access_denied", "403"],
      ["demo-agent", "client_aborted", "", "200"],
      ["", "refused", "agent_unidentified", "403"],
    ]);
  });

  it("tell the gateway's own time from the upstream's", () => {
    const metrics = new ExchangeMetrics();
    metrics.ended(aDecision(), anOutcome(), timing);
    const scraped = scrape(metrics);
    const sum = (name: string): number => scraped.value(`${name}_sum`) ?? 0;
    expect(sum("http_server_request_duration_seconds")).toBeCloseTo(0.04, 6);
    expect(sum("postern_upstream_first_byte_seconds")).toBeCloseTo(0.02, 6);
    // 28 ms until the answer begins, less 4 of connecting and 20 of waiting.
    expect(sum("postern_added_latency_seconds")).toBeCloseTo(0.004, 6);
  });

  it("sum up bytes, secrets that were taken out, and tokens by their type", () => {
    const metrics = new ExchangeMetrics();
    metrics.ended(aDecision(), anOutcome({ scrubbed: 2 }), timing);
    metrics.ended(aDecision(), anOutcome({ usage: { inputTokens: 8, madeUp: 1 } }), timing);
    const scraped = scrape(metrics);
    expect(scraped.value("postern_request_body_bytes_total")).toBe(200);
    expect(scraped.value("postern_response_body_bytes_total")).toBe(400);
    expect(scraped.value("postern_scrubbed_secrets_total")).toBe(2);
    const tokens = scraped
      .of("gen_ai_client_token_usage_sum")
      .map(({ labels, value }) => [labels["gen_ai_token_type"], value]);
    expect(tokens).toEqual([
      ["input", 20],
      ["output", 34],
      ["_other", 1],
    ]);
  });
});
