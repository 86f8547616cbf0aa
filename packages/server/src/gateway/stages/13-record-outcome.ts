// SPDX-License-Identifier: Apache-2.0
/** Stage 13: what became of the request; always recorded, also when it broke off. */
import type { Clock } from "../../kernel/clock.ts";
import { newId } from "../../kernel/ids.ts";
import type { AuditSink, OutcomeRecord } from "../ports.ts";
import type { UpstreamRequest } from "../http/messages.ts";
import type { UsageMeter } from "../usage-meter.ts";
import type { GuardedAnswer } from "./12-guard-response.ts";
import type { Refusal } from "./refusal.ts";

export class Outcome {
  readonly #decisionId: string;
  readonly #clock: Clock;
  readonly #audit: AuditSink;
  readonly #startedAt: number;
  #ended: OutcomeRecord["ended"] = "refused";
  #code: string | undefined;
  #answer: GuardedAnswer | undefined;
  #meter: UsageMeter | undefined;
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(decisionId: string, clock: Clock, audit: AuditSink) {
    this.#decisionId = decisionId;
    this.#clock = clock;
    this.#audit = audit;
    this.#startedAt = clock.now();
  }

  /** The body of the request, whose bytes count as they leave. */
  counted<Body extends UpstreamRequest["body"]>(body: Body): Body | AsyncIterable<Buffer> {
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
    this.#answer = answer;
    this.#meter = meter;
    this.#ended = "upstream_failed";
  }

  /** For every piece that goes to the agent. */
  readonly onChunk = (chunk: Buffer): void => {
    this.#bytesIn += chunk.length;
    this.#meter?.feed(chunk);
  };

  completed(): void {
    this.#ended = "complete";
  }

  refused(reason: Refusal): void {
    this.#ended = "refused";
    this.#code = reason.code;
  }

  brokeOff(how: "client_aborted" | "upstream_failed" | "cut"): void {
    this.#ended = how;
  }

  record(agent: string | undefined, serverWorkload: string | undefined): void {
    const now = this.#clock.now();
    const usage = this.#meter?.finish();
    try {
      this.#audit.outcome({
        id: newId(now),
        time: now,
        decisionId: this.#decisionId,
        bytesIn: this.#bytesIn,
        bytesOut: this.#bytesOut,
        durationMs: Math.max(0, now - this.#startedAt),
        scrubbed: this.#answer?.scrubbed() ?? 0,
        ended: this.#ended,
        ...(agent === undefined ? {} : { agent }),
        ...(serverWorkload === undefined ? {} : { serverWorkload }),
        ...(this.#answer === undefined ? {} : { status: this.#answer.status }),
        ...(this.#code === undefined ? {} : { code: this.#code }),
        ...(usage === undefined ? {} : { usage }),
      });
    } catch {
      // The log refuses the next decision by itself; this answer has been given already.
    }
  }
}
