// SPDX-License-Identifier: Apache-2.0
import { type OtlpCollector, startOtlpCollector } from "@postern/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { aDecision, anOutcome, aRefusal, END, timing } from "./exchange.fixture.ts";
import { openTraceExport, TraceExport } from "./trace-export.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = `00-${TRACE}-b7ad6b7169203331-00`;

const valueOf = (traces: TraceExport, name: string): number =>
  traces.collect().find((family) => family.name === name)?.samples[0]?.value ?? Number.NaN;

describe("traces", () => {
  let collector: OtlpCollector;
  beforeEach(async () => {
    collector = await startOtlpCollector();
  });
  afterEach(() => collector.close());

  async function sent(...exchanges: Parameters<TraceExport["ended"]>[]): Promise<OtlpCollector["spans"]> {
    const traces = await openTraceExport(`${collector.url}/`, "1.2.3", () => {});
    for (const exchange of exchanges) traces.ended(...exchange);
    await traces.stop();
    return collector.spans;
  }

  it("hold nothing that an agent wrote where its request was not answered", async () => {
    const canary = "sk-canary-0123456789";
    const made = { method: canary, host: canary, model: canary };
    const { serverWorkload: _unknown, operation: _none, ...unmatched } = aDecision(made);
    const spans = await sent(
      [aDecision({ ...made, host: "api.openai.com" }), aRefusal("content_refused"), timing, canary],
      [unmatched, aRefusal("server_workload_unknown"), timing, `00-${canary}`],
      [undefined, aRefusal("request_malformed"), timing, undefined],
    );
    expect(spans.length).toBeGreaterThan(6);
    expect(Buffer.concat(collector.bodies).toString("latin1")).not.toContain("canary");
    expect(spans.map(({ name }) => name)).toContain("_OTHER chat.completions");
  });

  it("are read by the official definitions as they were meant", async () => {
    const spans = await sent([aDecision(), anOutcome(), timing, PARENT]);
    expect(spans.map(({ name, kind }) => [name, kind])).toEqual([
      ["POST chat.completions", "SPAN_KIND_SERVER"],
      ["decide", "SPAN_KIND_INTERNAL"],
      ["POST", "SPAN_KIND_CLIENT"],
    ]);
    const [server, decide, upstream] = spans;
    expect(server).toMatchObject({
      traceId: TRACE,
      parentSpanId: "b7ad6b7169203331",
      statusCode: "STATUS_CODE_UNSET",
      resource: { "service.name": "postern", "service.version": "1.2.3" },
    });
    expect(server?.attributes).toEqual({
      "http.request.method": "POST",
      "http.response.status_code": 200,
      "server.address": "api.openai.com",
      "gen_ai.request.model": "gpt-4o-mini",
      "gen_ai.usage.input_tokens": 12,
      "gen_ai.usage.output_tokens": 34,
      "postern.agent": "demo-agent",
      "postern.audit_id": "0190b0b0-0000-7000-8000-000000000001",
      "postern.operation": "chat.completions",
      "postern.outcome": "complete",
      "postern.run": "r1",
      "postern.server_workload": "openai",
    });
    for (const child of [decide, upstream])
      expect(child).toMatchObject({ traceId: TRACE, parentSpanId: server?.spanId });
    const milliseconds = (span = server): number[] =>
      [span!.startTimeUnixNano, span!.endTimeUnixNano].map((time) => Number(time / 1_000_000n) - END);
    expect(milliseconds(server)).toEqual([-40, 0]);
    expect(milliseconds(decide)).toEqual([-40, -39]);
    expect(milliseconds(upstream)).toEqual([-33, 0]);
  });

  it("begin a trace of their own where the parent is not valid, each another one", async () => {
    const spans = await sent(
      ...["", "00-x", undefined].map((parent): Parameters<TraceExport["ended"]> => [
        aDecision(),
        anOutcome(),
        timing,
        parent,
      ]),
    );
    const roots = spans.filter(({ parentSpanId }) => parentSpanId === "");
    expect(roots).toHaveLength(3);
    expect(new Set(roots.map(({ traceId }) => traceId)).size).toBe(3);
  });

  it("say what went wrong, and whose fault it is", async () => {
    const { sent: _sent, answered: _answered, ...early } = timing;
    const spans = await sent(
      [aDecision(), aRefusal("access_denied"), early, undefined],
      [aDecision(), aRefusal("audit_unavailable"), early, undefined],
      [aDecision(), anOutcome({ ended: "cut" }), timing, undefined],
      [aDecision(), anOutcome({ ended: "client_aborted" }), timing, undefined],
      [aDecision(), anOutcome({ status: 502 }), timing, undefined],
    );
    const servers = spans.filter(({ kind }) => kind === "SPAN_KIND_SERVER");
    const what = servers.map(({ attributes, statusCode }) => [
      attributes["error.type"],
      attributes["http.response.status_code"],
      statusCode,
    ]);
    expect(what).toEqual([
      ["access_denied", 403, "STATUS_CODE_UNSET"],
      ["audit_unavailable", 503, "STATUS_CODE_ERROR"],
      ["cut", 200, "STATUS_CODE_ERROR"],
      ["client_aborted", 200, "STATUS_CODE_UNSET"],
      ["502", 502, "STATUS_CODE_ERROR"],
    ]);
  });

  it("are counted as lost where the collector refuses them, and said to be, once", async () => {
    const said: boolean[] = [];
    collector.behave("refuse");
    const traces = await openTraceExport(collector.url, "1.2.3", (isFailing) => void said.push(isFailing));
    traces.ended(aDecision(), anOutcome(), timing, undefined);
    await traces.stop(20_000);
    expect([valueOf(traces, "postern_traces_dropped"), said]).toEqual([1, [true]]);
    collector.behave("take");
    traces.ended(aDecision(), anOutcome(), timing, undefined);
    await traces.stop(20_000);
    expect([valueOf(traces, "postern_traces_exported"), said]).toEqual([1, [true, false]]);
  });
});

describe("the queue of traces", () => {
  it("is bounded while the collector hangs, never throws, and does not hold up the end", async () => {
    const batches: number[] = [];
    const traces = new TraceExport(
      (spans) => {
        batches.push(spans.length);
        return new Promise(() => {});
      },
      () => {},
    );
    for (let i = 0; i < 10_000; i++) traces.ended(aDecision(), anOutcome(), timing, PARENT);
    expect(valueOf(traces, "postern_traces_dropped")).toBe(10_000 - 2048);
    await traces.stop(5);
    expect(batches).toEqual([128 * 3]);
  });

  it("goes on after a failure of the sender itself", async () => {
    let calls = 0;
    const send = (): Promise<boolean> =>
      ++calls === 1 ? Promise.reject(new Error("broken")) : Promise.resolve(true);
    const traces = new TraceExport(send, () => {});
    for (let i = 0; i < 200; i++) traces.ended(aDecision(), anOutcome(), timing, undefined);
    await traces.stop();
    expect(valueOf(traces, "postern_traces_dropped")).toBe(128);
    expect(valueOf(traces, "postern_traces_exported")).toBe(72);
  });
});
