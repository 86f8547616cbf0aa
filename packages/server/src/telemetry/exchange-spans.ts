// SPDX-License-Identifier: Apache-2.0
/**
 * Which spans tell of a request: one of the gateway, one for its decision and one for the upstream.
 *
 * Attributes have the names of the OpenTelemetry conventions where there is one. None quotes the agent, with one
 * exception: the model's name, and that only where the request was searched for secrets and then answered.
 */
import { randomBytes } from "node:crypto";
import { METHODS } from "node:http";
import type { EndedDecision, EndedOutcome, EndedTiming } from "./exchange.ts";
import { parseTraceparent } from "./traceparent.ts";

export interface EndedExchange {
  readonly decision: EndedDecision | undefined;
  readonly outcome: EndedOutcome;
  readonly timing: EndedTiming;
  readonly traceparent: string | undefined;
}

export type Attributes = Readonly<Record<string, string | number>>;

export interface ExchangeSpan {
  readonly name: string;
  readonly kind: "server" | "client" | "internal";
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string | undefined;
  /** Whether the parent is the agent's. */
  readonly hasRemoteParent: boolean;
  /** Wall clock, milliseconds. */
  readonly start: number;
  readonly end: number;
  readonly isError: boolean;
  readonly attributes: Attributes;
}

const LONGEST_MODEL = 128;
const known = new Set(METHODS);

const USAGE: Readonly<Record<string, string>> = {
  inputTokens: "gen_ai.usage.input_tokens",
  outputTokens: "gen_ai.usage.output_tokens",
  cacheReadTokens: "gen_ai.usage.cache_read.input_tokens",
  cacheWriteTokens: "gen_ai.usage.cache_creation.input_tokens",
};

/** `statusOf`: what the agent got where a request was refused. */
export function exchangeSpans(
  exchange: EndedExchange,
  statusOf: (code: string) => number | undefined,
): readonly ExchangeSpan[] {
  const { decision, outcome, timing } = exchange;
  const parent = exchange.traceparent === undefined ? undefined : parseTraceparent(exchange.traceparent);
  const ids = randomBytes(40).toString("hex");
  const [traceId, root] = [parent?.traceId ?? ids.slice(0, 32), ids.slice(32, 48)];
  const wall = (point: number): number => outcome.time - (timing.ended - point);
  const method = methodOf(decision);
  const errorType = errorTypeOf(outcome);
  const failed: Attributes = errorType === undefined ? {} : { "error.type": errorType };
  const status = outcome.status ?? (outcome.code === undefined ? undefined : statusOf(outcome.code));
  const answered: Attributes = status === undefined ? {} : { "http.response.status_code": status };
  const span = (
    more: Pick<ExchangeSpan, "name" | "kind" | "start" | "end"> & Partial<ExchangeSpan>,
  ): ExchangeSpan => ({
    traceId,
    spanId: root,
    parentId: root,
    hasRemoteParent: false,
    isError: false,
    attributes: {},
    ...more,
  });
  const spans = [
    span({
      name: [method, decision?.operation].filter((part) => part !== undefined).join(" ") || "request",
      kind: "server",
      parentId: parent?.spanId,
      hasRemoteParent: parent !== undefined,
      start: wall(timing.begun),
      end: outcome.time,
      // Conventions for HTTP: a 4xx, and going away, is the caller's fault and no error of the server.
      isError: errorType !== undefined && !isCallersFault(outcome, status),
      attributes: {
        ...posternAttributes(exchange),
        ...httpAttributes(decision, method),
        ...answered,
        ...failed,
      },
    }),
  ];
  if (timing.decided !== undefined)
    spans.push(
      span({
        ...{ name: "decide", kind: "internal", spanId: ids.slice(48, 64) },
        ...{ start: wall(timing.begun), end: wall(timing.decided) },
      }),
    );
  if (timing.sent !== undefined)
    spans.push(
      span({
        ...{ name: method ?? "request", kind: "client", spanId: ids.slice(64, 80) },
        ...{ start: wall(timing.sent), end: outcome.time },
        isError: errorType !== undefined,
        attributes: { ...httpAttributes(decision, method), ...answered, ...failed, ...firstByte(timing) },
      }),
    );
  return spans;
}

function posternAttributes({ decision, outcome }: EndedExchange): Attributes {
  const attributes: Record<string, string | number> = {
    "postern.audit_id": outcome.decisionId,
    "postern.outcome": outcome.ended,
  };
  const add = (name: string, value: string | number | undefined): void => {
    if (value !== undefined) attributes[name] = value;
  };
  add("postern.agent", outcome.agent);
  add("postern.run", decision?.run);
  add("postern.server_workload", outcome.serverWorkload);
  add("postern.operation", decision?.operation);
  if (outcome.status !== undefined) add("gen_ai.request.model", decision?.model?.slice(0, LONGEST_MODEL));
  for (const [counter, value] of Object.entries(outcome.usage ?? {})) {
    const name = USAGE[counter];
    if (name !== undefined) add(name, value);
  }
  return attributes;
}

function httpAttributes(decision: EndedDecision | undefined, method: string | undefined): Attributes {
  return {
    ...(method === undefined ? {} : { "http.request.method": method }),
    // A host that is not registered is the agent's own text.
    ...(decision?.serverWorkload === undefined || decision.host === undefined
      ? {}
      : { "server.address": decision.host }),
  };
}

const firstByte = ({ sent, answered }: EndedTiming): Attributes =>
  sent === undefined || answered === undefined ? {} : { "postern.first_byte_ms": answered - sent };

/** Methods are tokens that an agent may make up; the conventions have a word for those. */
function methodOf(decision: EndedDecision | undefined): string | undefined {
  if (decision?.method === undefined) return undefined;
  return known.has(decision.method) ? decision.method : "_OTHER";
}

const isCallersFault = ({ code, ended }: EndedOutcome, status: number | undefined): boolean =>
  ended === "client_aborted" || (code !== undefined && status !== undefined && status < 500);

function errorTypeOf({ code, ended, status }: EndedOutcome): string | undefined {
  if (code !== undefined) return code;
  if (ended !== "complete") return ended;
  return status !== undefined && status >= 500 ? String(status) : undefined;
}
