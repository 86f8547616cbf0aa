// SPDX-License-Identifier: Apache-2.0
import { startOtlpCollector } from "@postern/testkit";
import { describe, expect, it } from "vitest";
import { readConfig } from "../config/config.ts";
import type { DecisionRecord, OutcomeRecord } from "../gateway/ports.ts";
import { jsonLog } from "../kernel/log.ts";
import { timing } from "../telemetry/exchange.fixture.ts";
import { Telemetry } from "./telemetry.ts";

const decision: DecisionRecord = {
  ...{ id: "d1", time: 0, outcome: "deny", code: "access_denied", reasons: [], policies: [] },
  ...{ run: "r1", isolated: true, policyDigest: "p", path: "/canary", host: "canary.example" },
};
const refused: OutcomeRecord = {
  ...{ id: "o1", time: 0, decisionId: "d1", agent: "demo-agent", code: "access_denied" },
  ...{ bytesIn: 0, bytesOut: 0, durationMs: 1, scrubbed: 0, ended: "refused" },
};

async function open(...words: string[]) {
  const lines: string[] = [];
  const config = readConfig(["--data", "/d", ...words], {});
  const log = jsonLog(
    (line) => void lines.push(line),
    () => 0,
    config.logLevel,
  );
  return { telemetry: await Telemetry.open(config, log, "1"), lines };
}

describe("who watches the server", () => {
  it("is nobody where nobody was asked for, so that requests cost nothing more", async () => {
    for (const words of [[], ["--log-level", "error"]]) {
      const { telemetry } = await open(...words);
      expect(telemetry.observer).toEqual({});
      expect(telemetry.logWatcher).toEqual({});
    }
  });

  it("is the log of requests from level info on, which quotes nothing", async () => {
    const { telemetry, lines } = await open("--log-level", "info");
    telemetry.observer.observer?.ended(decision, refused, timing, undefined);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('"auditId":"d1"');
    expect(lines[0]).not.toContain("canary");
  });

  it("asks for the parents of traces only where traces are sent", async () => {
    const metrics = await open("--metrics-listen", "0");
    expect(metrics.telemetry.observer.observer?.followsTraces).toBe(false);
    expect(metrics.telemetry.logWatcher.watcher).toBeDefined();
    const collector = await startOtlpCollector();
    const { telemetry } = await open("--otlp-endpoint", collector.url);
    expect(telemetry.observer.observer?.followsTraces).toBe(true);
    telemetry.observer.observer?.ended(decision, refused, timing, undefined);
    await telemetry.stop();
    expect(collector.spans.map(({ name }) => name)).toContain("request");
    expect(Buffer.concat(collector.bodies).toString("latin1")).not.toContain("canary");
    await collector.close();
  });
});
