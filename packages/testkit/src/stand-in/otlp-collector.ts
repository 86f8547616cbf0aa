// SPDX-License-Identifier: Apache-2.0
/**
 * A collector of traces as OpenTelemetry defines it: takes OTLP over HTTP in protobuf and reads it by the official
 * definitions, which lie beside this file as they are in open-telemetry/opentelemetry-proto, commit ac2c4b5.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty where it has none. */
  readonly parentSpanId: string;
  readonly name: string;
  /** `SPAN_KIND_SERVER` … */
  readonly kind: string;
  readonly startTimeUnixNano: bigint;
  readonly endTimeUnixNano: bigint;
  readonly statusCode: string;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly resource: Readonly<Record<string, string | number>>;
}

export interface OtlpCollector {
  /** What goes into `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly url: string;
  readonly spans: readonly CollectedSpan[];
  /** Bodies as they came. */
  readonly bodies: readonly Buffer[];
  /** From now on: takes what comes, refuses it, or never answers. */
  behave(how: "take" | "refuse" | "hang"): void;
  close(): Promise<void>;
}

interface AnyValue {
  readonly stringValue?: string;
  readonly intValue?: string;
  readonly doubleValue?: number;
}
type KeyValues = readonly { readonly key: string; readonly value: AnyValue }[];
interface ExportRequest {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: KeyValues };
    readonly scopeSpans: readonly { readonly spans: readonly WireSpan[] }[];
  }[];
}
interface WireSpan {
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  readonly parentSpanId: Buffer;
  readonly name: string;
  readonly kind: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code: string } | null;
  readonly attributes: KeyValues;
}

export async function startOtlpCollector(): Promise<OtlpCollector> {
  const requestType = await loadRequestType();
  const spans: CollectedSpan[] = [];
  const bodies: Buffer[] = [];
  let how: "take" | "refuse" | "hang" = "take";
  const server = createServer((request, response) => {
    void answer(request, response).catch(() => response.destroy());
  });
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request);
    if (how === "hang") return;
    if (how === "refuse") return void response.writeHead(503).end();
    if (request.url !== "/v1/traces" || request.headers["content-type"] !== "application/x-protobuf")
      return void response.writeHead(404).end();
    bodies.push(body);
    const decoded = requestType.toObject(requestType.decode(body), {
      ...{ longs: String, enums: String, bytes: Buffer, defaults: true },
    }) as ExportRequest;
    spans.push(...spansOf(decoded));
    response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
  }
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    bodies,
    behave: (next) => void (how = next),
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function loadRequestType(): Promise<protobuf.Type> {
  const root = new protobuf.Root();
  const folder = fileURLToPath(new URL("opentelemetry/proto", import.meta.url));
  root.resolvePath = (_from, path) => path.replace(/^opentelemetry\/proto/, folder);
  await root.load("opentelemetry/proto/collector/trace/v1/trace_service.proto");
  return root.lookupType("opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest");
}

function spansOf({ resourceSpans }: ExportRequest): CollectedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        traceId: span.traceId.toString("hex"),
        spanId: span.spanId.toString("hex"),
        parentSpanId: span.parentSpanId.toString("hex"),
        name: span.name,
        kind: span.kind,
        startTimeUnixNano: BigInt(span.startTimeUnixNano),
        endTimeUnixNano: BigInt(span.endTimeUnixNano),
        statusCode: span.status?.code ?? "STATUS_CODE_UNSET",
        attributes: values(span.attributes),
        resource: values(resource.attributes),
      })),
    ),
  );
}

const values = (pairs: KeyValues): Record<string, string | number> =>
  Object.fromEntries(
    pairs.map(({ key, value }) => [key, value.stringValue ?? value.doubleValue ?? Number(value.intValue)]),
  );
