// SPDX-License-Identifier: Apache-2.0
/** How much memory request bodies may take while they are read: per request, per agent, and in all. */
import { type Result, ok, refuse } from "../kernel/result.ts";
import type { MessageBody } from "./http/messages.ts";

export interface BodyLimits {
  /** Bytes. A single body larger than this is never read. */
  readonly perRequest: number;
  /** All unfinished requests of one agent, so that it cannot take what others need. */
  readonly perAgent: number;
  readonly total: number;
}

export const DEFAULT_BODY_LIMITS: BodyLimits = {
  perRequest: 64 * 1024 * 1024,
  perAgent: 128 * 1024 * 1024,
  total: 384 * 1024 * 1024,
};

export type BodyRefusal = "request_too_large" | "gateway_busy";

export class BodyMemory {
  readonly #limits: BodyLimits;
  readonly #byAgent = new Map<string, number>();
  #total = 0;

  constructor(limits: BodyLimits) {
    this.#limits = limits;
  }

  /** The part of one request; `release` it when the request is over. */
  share(agent: string): BodyShare {
    return new BodyShare(this.#limits.perRequest, (bytes) => this.#change(agent, bytes));
  }

  /** False where it would be too much; giving back always works. */
  #change(agent: string, bytes: number): boolean {
    const taken = (this.#byAgent.get(agent) ?? 0) + bytes;
    if (bytes > 0 && (taken > this.#limits.perAgent || this.#total + bytes > this.#limits.total))
      return false;
    this.#total += bytes;
    if (taken === 0) this.#byAgent.delete(agent);
    else this.#byAgent.set(agent, taken);
    return true;
  }
}

export class BodyShare {
  readonly #limit: number;
  readonly #change: (bytes: number) => boolean;
  #taken = 0;

  constructor(limit: number, change: (bytes: number) => boolean) {
    this.#limit = limit;
    this.#change = change;
  }

  /** Collects the body, or refuses where it is larger than may be read now. */
  collect(
    body: MessageBody,
    limit = this.#limit,
  ): Result<Buffer, BodyRefusal> | Promise<Result<Buffer, BodyRefusal>> {
    const { whole } = body;
    if (whole === undefined) return this.#collectPieces(body, Math.min(limit, this.#limit));
    if (whole.length > Math.min(limit, this.#limit)) return refuse("request_too_large");
    if (!this.#change(whole.length)) return refuse("gateway_busy");
    this.#taken += whole.length;
    return ok(whole);
  }

  async #collectPieces(body: MessageBody, limit: number): Promise<Result<Buffer, BodyRefusal>> {
    // One buffer that grows: pieces of a byte each would cost a hundred times what they hold.
    let buffer: Buffer = Buffer.alloc(0);
    let size = 0;
    for await (const chunk of body) {
      const needed = size + chunk.length;
      if (needed > limit) return refuse("request_too_large");
      if (needed > buffer.length) {
        const room = Math.min(limit, Math.max(needed, buffer.length * 2));
        if (!this.#change(room - buffer.length)) return refuse("gateway_busy");
        this.#taken += room - buffer.length;
        const larger = Buffer.allocUnsafe(room);
        buffer.copy(larger, 0, 0, size);
        buffer = larger;
      }
      chunk.copy(buffer, size);
      size = needed;
    }
    return ok(buffer.subarray(0, size));
  }

  release(): void {
    this.#change(-this.#taken);
    this.#taken = 0;
  }
}
