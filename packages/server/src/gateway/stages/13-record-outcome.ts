// SPDX-License-Identifier: Apache-2.0
/** Stage 13: what became of the request; always recorded, also when it broke off. */
import type { Clock } from "../../kernel/clock.ts";
import { newId } from "../../kernel/ids.ts";
import type { AuditSink, DecisionRecord, ExchangeObserver, ExchangeTiming, OutcomeRecord } from "../ports.ts";
import type { HeaderList, UpstreamRequest } from "../http/messages.ts";
import type { Reservation } from "../reservation.ts";
import type { UsageMeter } from "../usage-meter.ts";
import type { GuardedAnswer } from "./12-guard-response.ts";
import { headerValues } from "./1-read-request.ts";
import type { Refusal } from "./refusal.ts";

type Marks = { -readonly [Point in keyof ExchangeTiming]: ExchangeTiming[Point] };

export class Outcome {
  readonly #decisionId: string;
  readonly #clock: Clock;
  readonly #audit: AuditSink;
  readonly #observer: ExchangeObserver | undefined;
  readonly #startedAt: number;
  /** Kept only where somebody hears of them. */
  readonly #marks: Marks | undefined;
  #decision: DecisionRecord | undefined;
  #traceparent: string | undefined;
  #ended: OutcomeRecord["ended"] = "refused";
  #code: string | undefined;
  #reasons: readonly string[] | undefined;
  #answer: GuardedAnswer | undefined;
  #meter: UsageMeter | undefined;
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(decisionId: string, clock: Clock, audit: AuditSink, observer?: ExchangeObserver) {
    this.#decisionId = decisionId;
    this.#clock = clock;
    this.#audit = audit;
    this.#startedAt = clock.now();
    this.#observer = observer;
    if (observer !== undefined) this.#marks = { begun: performance.now(), ended: 0 };
  }

  reached(point: keyof ExchangeTiming): void {
    if (this.#marks !== undefined) this.#marks[point] = performance.now();
  }

  decided(decision: DecisionRecord, headers: HeaderList = []): void {
    this.#decision = decision;
    this.reached("decided");
    if (this.#observer?.followsTraces !== true) return;
    const parents = headerValues(headers, "traceparent");
    if (parents.length === 1) this.#traceparent = parents[0];
  }

  /** The body of the request, whose bytes count as they leave. */
  counted<Body extends UpstreamRequest["body"]>(body: Body): Body | AsyncIterable<Buffer> {
    this.reached("sent");
    if (body === undefined) return body;
    if (!Buffer.isBuffer(body)) return this.#counting(body);
    this.#bytesOut = body.length;
    return body;
  }

  async *#counting(body: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
    for await (const chunk of body) {
      this.#bytesOut += chunk.length;
      yield chunk;
    }
  }

  answering(answer: GuardedAnswer, meter: UsageMeter): void {
    this.reached("answering");
    this.#answer = answer;
    this.#meter = meter;
    this.#ended = "upstream_failed";
  }

  /** The answer is a WebSocket, whose messages count as they pass. */
  relaying(answer: GuardedAnswer): void {
    this.#answer = answer;
  }

  /** For every piece that goes to the agent. */
  readonly onChunk = (chunk: Buffer): void => {
    this.#bytesIn += chunk.length;
    this.#meter?.feed(chunk);
  };

  /** For every piece of a message that goes to the upstream. */
  readonly onLeaving = (piece: Buffer): void => {
    this.#bytesOut += piece.length;
  };

  completed(): void {
    this.#ended = "complete";
  }

  refused(reason: Refusal): void {
    this.#ended = "refused";
    this.#code = reason.code;
  }

  /** What ends it. */
  because({ code, reasons }: Refusal): void {
    this.#code = code;
    this.#reasons = reasons;
  }

  brokeOff(how: "client_aborted" | "upstream_failed" | "cut"): void {
    this.#ended = how;
  }

  record(agent: string | undefined, serverWorkload: string | undefined, reservation?: Reservation): void {
    const now = this.#clock.now();
    const usage = this.#meter?.finish();
    const charged = reservation?.close({
      ...{ status: this.#answer?.status, code: this.#code, ended: this.#ended, usage },
      ...{ isWhole: this.#meter?.isWhole ?? false, textBytes: this.#meter?.textBytes ?? 0 },
    });
    const record: OutcomeRecord = {
      id: newId(now),
      time: now,
      decisionId: this.#decisionId,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      durationMs: Math.max(0, now - this.#startedAt),
      scrubbed: this.#answer?.scrubbed() ?? 0,
      ended: this.#ended,
      agent,
      serverWorkload,
      status: this.#answer?.status,
      code: this.#code,
      usage,
      ...(this.#reasons === undefined ? {} : { reasons: this.#reasons }),
      charged: charged?.figures,
      chargeBasis: charged?.basis,
    };
    try {
      this.#audit.outcome(record);
    } catch {
      // The log refuses the next decision by itself; this answer has been given already.
    }
    this.#tell(record);
  }

  #tell(record: OutcomeRecord): void {
    if (this.#observer === undefined || this.#marks === undefined) return;
    this.reached("ended");
    try {
      this.#observer.ended(this.#decision, record, this.#marks, this.#traceparent);
    } catch {
      // Whoever watches must not be in the way.
    }
  }
}
