// SPDX-License-Identifier: Apache-2.0
/**
 * Sends traces to a collector (OTLP over HTTP, protobuf) from a bounded queue, one batch at a time.
 *
 * A request only puts itself into the queue; a collector that fails, hangs or is slow costs traces and nothing else.
 * The packages are loaded by whoever calls `openTraceExport`: a server without traces does not hold them in memory.
 */
import { PROBLEMS } from "@postern/contract";
import type { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import type { EndedDecision, EndedOutcome, EndedTiming, ExchangeListener } from "./exchange.ts";
import { type EndedExchange, type ExchangeSpan, exchangeSpans } from "./exchange-spans.ts";
import { counter, type MetricFamily } from "./metric-family.ts";

const LONGEST_QUEUE = 2048;
/** Requests in one batch: few enough that writing them takes about a millisecond. */
const BATCH = 128;
const REST = 1000;
const TIMEOUT = 5000;
/** The exporter counts silence and tries again; whatever it does, a batch is given up after this. */
const LONGEST_EXPORT = 6000;

/** `ExportResultCode` of OpenTelemetry. */
const SUCCESS = 0;

type ReadableSpan = Parameters<OTLPTraceExporter["export"]>[0][number];
export type SendSpans = (spans: readonly ExchangeSpan[]) => Promise<boolean>;

/** `endpoint`: base URL, as in `OTEL_EXPORTER_OTLP_ENDPOINT`. */
export async function openTraceExport(
  endpoint: string,
  version: string,
  failing: (isFailing: boolean) => void,
): Promise<TraceExport> {
  const { OTLPTraceExporter: Exporter } = await import("@opentelemetry/exporter-trace-otlp-proto");
  const url = `${endpoint.replace(/\/+$/, "")}/v1/traces`;
  const exporter = new Exporter({ url, timeoutMillis: TIMEOUT, concurrencyLimit: 1 });
  const readable = readableFor(version);
  const send: SendSpans = (spans) =>
    new Promise((resolve) => {
      const late = setTimeout(() => resolve(false), LONGEST_EXPORT);
      exporter.export(spans.map(readable), ({ code }: { readonly code: number }) => {
        clearTimeout(late);
        resolve(code === SUCCESS);
      });
    });
  return new TraceExport(send, failing);
}

export class TraceExport implements ExchangeListener {
  readonly #send: SendSpans;
  readonly #failing: (isFailing: boolean) => void;
  readonly #queue: EndedExchange[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  #isFailing = false;
  #exported = 0;
  #dropped = 0;

  constructor(send: SendSpans, failing: (isFailing: boolean) => void) {
    this.#send = send;
    this.#failing = failing;
  }

  ended(
    decision: EndedDecision | undefined,
    outcome: EndedOutcome,
    timing: EndedTiming,
    traceparent: string | undefined,
  ): void {
    if (this.#queue.length >= LONGEST_QUEUE) return void this.#dropped++;
    this.#queue.push({ decision, outcome, timing, traceparent });
    if (this.#timer !== undefined || this.#sending !== undefined) return;
    this.#timer = setTimeout(() => void this.#run(), REST);
    this.#timer.unref();
  }

  collect(): readonly MetricFamily[] {
    return [
      counter("postern_traces_exported", "requests whose trace a collector took", this.#exported),
      counter("postern_traces_dropped", "requests whose trace was lost", this.#dropped),
    ];
  }

  /** Sends what there is, within the given time. */
  async stop(milliseconds = 2000): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, milliseconds);
    await Promise.race([this.#run(), late.promise]);
    clearTimeout(timer);
  }

  #run(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#sending === undefined && this.#queue.length > 0) this.#sending = this.#sendAll();
    return this.#sending ?? Promise.resolve();
  }

  async #sendAll(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, BATCH);
      const spans = batch.flatMap((each) => exchangeSpans(each, statusOf));
      const isTaken = await this.#send(spans).catch(() => false);
      if (isTaken) this.#exported += batch.length;
      else this.#dropped += batch.length;
      if (this.#isFailing === isTaken) this.#failing((this.#isFailing = !isTaken));
    }
    // In the same step in which nothing was left, so that no request waits for the next one.
    this.#sending = undefined;
  }
}

const statusOf = (code: string): number | undefined =>
  Object.hasOwn(PROBLEMS, code) ? PROBLEMS[code as keyof typeof PROBLEMS].status : undefined;

const KINDS = { internal: 0, server: 1, client: 2 } as const;
const SAMPLED = 1;
const [UNSET, ERROR] = [0, 2] as const;

/** As the exporter of OpenTelemetry reads them; no more of its SDK is needed. */
function readableFor(version: string): (span: ExchangeSpan) => ReadableSpan {
  const resource = { attributes: { "service.name": "postern", "service.version": version } };
  return (span) => {
    const context = { traceId: span.traceId, traceFlags: SAMPLED };
    return {
      name: span.name,
      kind: KINDS[span.kind],
      spanContext: () => ({ ...context, spanId: span.spanId }),
      ...(span.parentId === undefined
        ? {}
        : { parentSpanContext: { ...context, spanId: span.parentId, isRemote: span.hasRemoteParent } }),
      startTime: hrTime(span.start),
      endTime: hrTime(span.end),
      duration: hrTime(span.end - span.start),
      status: { code: span.isError ? ERROR : UNSET },
      attributes: span.attributes,
      links: [],
      events: [],
      ended: true,
      resource: resource as unknown as ReadableSpan["resource"],
      instrumentationScope: { name: "postern", version },
      droppedAttributesCount: 0,
      droppedEventsCount: 0,
      droppedLinksCount: 0,
    };
  };
}

function hrTime(milliseconds: number): [seconds: number, nanoseconds: number] {
  const seconds = Math.floor(milliseconds / 1000);
  return [seconds, Math.round((milliseconds - seconds * 1000) * 1e6)];
}
