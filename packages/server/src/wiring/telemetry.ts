// SPDX-License-Identifier: Apache-2.0
/** Who watches the server: the log of requests, metrics and traces, each only where somebody asked for it. */
import type { BudgetState } from "@postern/contract";
import { budgetFamilies } from "../telemetry/budget-metrics.ts";
import type { AuditLog, LogWatcher } from "../audit/log.ts";
import type { Config } from "../config/config.ts";
import type { ExchangeObserver, Snapshot } from "../gateway/ports.ts";
import type { Log } from "../kernel/log.ts";
import { AuditMetrics } from "../telemetry/audit-metrics.ts";
import type { ExchangeListener } from "../telemetry/exchange.ts";
import { ExchangeMetrics } from "../telemetry/exchange-metrics.ts";
import { listen, type TelemetryListener } from "../telemetry/listener.ts";
import { gauge, type MetricFamily } from "../telemetry/metric-family.ts";
import { watchProcess } from "../telemetry/process-metrics.ts";
import type { Readiness } from "../telemetry/readiness.ts";
import { RequestLog } from "../telemetry/request-log.ts";
import { openTraceExport, type TraceExport } from "../telemetry/trace-export.ts";

/** The parts that are looked at when somebody asks. */
export interface Watched {
  readonly audit: AuditLog;
  readonly readiness: () => Promise<Readiness>;
  snapshot(): Snapshot;
  /** Milliseconds since the last word from a database that others change, too. */
  snapshotAge(): number;
  openExchanges(): number;
  connections(): number;
  runs(): number;
  budgets(): Promise<readonly BudgetState[]>;
}

interface Metrics {
  readonly exchanges: ExchangeMetrics;
  readonly audit: AuditMetrics;
}

export class Telemetry {
  readonly #config: Config;
  readonly #log: Log;
  readonly #version: string;
  readonly #metrics: Metrics | undefined;
  readonly #traces: TraceExport | undefined;
  #process: ReturnType<typeof watchProcess> | undefined;
  #listener: TelemetryListener | undefined;

  private constructor(config: Config, log: Log, version: string, traces: TraceExport | undefined) {
    this.#config = config;
    this.#log = log;
    this.#version = version;
    this.#traces = traces;
    if (config.metricsListen !== undefined)
      this.#metrics = { exchanges: new ExchangeMetrics(), audit: new AuditMetrics() };
  }

  static async open(config: Config, log: Log, version: string): Promise<Telemetry> {
    const failing = (isFailing: boolean): void =>
      isFailing
        ? log.write("warn", "traces are lost: the collector does not take them")
        : log.write("warn", "the collector takes traces again");
    const traces =
      config.otlpEndpoint === undefined
        ? undefined
        : await openTraceExport(config.otlpEndpoint, version, failing);
    return new Telemetry(config, log, version, traces);
  }

  /** Nobody, where nobody wants to hear: requests then cost nothing more. */
  get observer(): { readonly observer?: ExchangeObserver } {
    const listeners: ExchangeListener[] = [];
    if (this.#metrics !== undefined) listeners.push(this.#metrics.exchanges);
    if (this.#traces !== undefined) listeners.push(this.#traces);
    if (this.#config.logLevel === "debug" || this.#config.logLevel === "info")
      listeners.push(new RequestLog(this.#log));
    if (listeners.length === 0) return {};
    return {
      observer: {
        followsTraces: this.#traces !== undefined,
        ended: (decision, outcome, timing, traceparent) => {
          for (const listener of listeners) listener.ended(decision, outcome, timing, traceparent);
        },
      },
    };
  }

  get logWatcher(): { readonly watcher?: LogWatcher } {
    return this.#metrics === undefined ? {} : { watcher: this.#metrics.audit };
  }

  async serve(watched: Watched): Promise<void> {
    const { metricsListen } = this.#config;
    if (metricsListen === undefined || this.#metrics === undefined) return;
    const { audit } = this.#metrics;
    watched.audit.onAppend(({ bytes }) => audit.appended(bytes.length));
    this.#process = watchProcess();
    this.#listener = await listen(metricsListen, {
      readiness: watched.readiness,
      metrics: () => this.#collect(watched),
    });
    this.#log.write("info", "metrics are served", { address: this.#listener.address });
  }

  async stop(): Promise<void> {
    this.#process?.stop();
    await this.#listener?.close();
    await this.#traces?.stop();
  }

  async #collect(watched: Watched): Promise<readonly MetricFamily[]> {
    const { checks } = await watched.readiness();
    const snapshot = watched.snapshot();
    return [
      gauge("postern_build_info", "always 1; which program this is", 1, {
        ...{ version: this.#version, node_version: process.versions.node },
      }),
      {
        name: "postern_ready",
        help: "1 where the check is well, as in /readyz",
        type: "gauge",
        samples: checks.map(({ name, ok }) => ({ labels: { check: name }, value: ok ? 1 : 0 })),
      },
      gauge("postern_snapshot_epoch", "grows with every change of resources or agents", snapshot.epoch),
      gauge(
        "postern_snapshot_age_seconds",
        "time since the last word from a shared database",
        watched.snapshotAge() / 1000,
      ),
      gauge("postern_open_exchanges", "requests that are not over", watched.openExchanges()),
      gauge("postern_open_connections", "connections of agents", watched.connections()),
      gauge("postern_open_runs", "runs whose agent has been started", watched.runs()),
      ...this.#metrics!.exchanges.collect(snapshot),
      ...this.#metrics!.audit.collect(watched.audit.size()),
      ...budgetFamilies(await watched.budgets().catch(() => [])),
      ...(this.#traces?.collect() ?? []),
      ...(this.#process?.source() ?? []),
    ];
  }
}
