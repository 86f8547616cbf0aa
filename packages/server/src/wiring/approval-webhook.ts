// SPDX-License-Identifier: Apache-2.0
/** Tells persons of new questions: one signed message each, one after the other, never waited for. */
import { callHttps, type Reach } from "../attestation/authority/call-https.ts";
import type { Clock } from "../kernel/clock.ts";
import { faultFields, type Log } from "../kernel/log.ts";
import type { MessageKey } from "../keys/message-key.ts";

export interface WebhookParts {
  url(): Promise<URL>;
  key(): Promise<MessageKey>;
  readonly reach: Reach;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Message {
  /** Asked when its turn has come; undefined where there is nothing left to say. */
  make(): Promise<object | undefined>;
  sent(): Promise<void>;
}

interface Outcome {
  /** Absent where it was taken. */
  readonly problem?: string;
  readonly isFinal: boolean;
  /** Milliseconds, where the receiver says when to come again. */
  readonly pause?: number;
}

const PASSING: ReadonlySet<string> = new Set(["authority_unreachable", "authority_timeout"]);
const TIMEOUT = 10_000;
/** Milliseconds before each further try. */
const PAUSES = [1000, 5000, 20_000];
const LONGEST_PAUSE = 30_000;
/** A flood of questions does not become a flood of messages: they are in `postern approvals list` all the same. */
const MOST_WAITING = 32;

export class ApprovalWebhook {
  readonly #parts: WebhookParts;
  readonly #over = new AbortController();
  #waiting = 0;
  #last: Promise<void> = Promise.resolve();

  constructor(parts: WebhookParts) {
    this.#parts = parts;
  }

  send(message: Message): void {
    const { log } = this.#parts;
    if (this.#waiting >= MOST_WAITING)
      return log.write("warn", "a question was not sent to the approvals webhook: too many wait");
    this.#waiting++;
    this.#last = this.#last
      .then(() => this.#deliver(message))
      .catch((error: unknown) =>
        log.write("warn", "a message to the approvals webhook could not be made", faultFields(error)),
      )
      .finally(() => this.#waiting--);
  }

  close(): void {
    this.#over.abort();
  }

  async #deliver({ make, sent }: Message): Promise<void> {
    let problem: string | undefined;
    for (let attempt = 0; attempt <= PAUSES.length && !this.#over.signal.aborted; attempt++) {
      // Anew each time: who has been answered meanwhile is not asked again.
      // eslint-disable-next-line no-await-in-loop
      const message = await make();
      if (message === undefined) return;
      // eslint-disable-next-line no-await-in-loop
      const outcome = await this.#post(Buffer.from(JSON.stringify(message), "utf8"));
      problem = outcome.problem;
      if (problem === undefined) return sent();
      if (outcome.isFinal) break;
      // eslint-disable-next-line no-await-in-loop
      await this.#pause(Math.min(outcome.pause ?? PAUSES[attempt] ?? 0, LONGEST_PAUSE));
    }
    // Not the URL: it is a secret.
    this.#parts.log.write("warn", "the approvals webhook does not take a message", { code: problem });
  }

  /** Ends early where the server ends. */
  #pause(milliseconds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, milliseconds).unref();
    this.#over.signal.addEventListener("abort", () => resolve(), { once: true });
    return promise.finally(() => clearTimeout(timer));
  }

  async #post(body: Buffer): Promise<Outcome> {
    const { clock, key, reach, url } = this.#parts;
    const timestamp = Math.floor(clock.now() / 1000);
    const headers = {
      "content-type": "application/json",
      "x-slack-request-timestamp": String(timestamp),
      "x-slack-signature": (await key()).sign(timestamp, body),
    };
    const call = { url: await url(), method: "POST", headers, body } as const;
    const ends = AbortSignal.any([AbortSignal.timeout(TIMEOUT), this.#over.signal]);
    const answer = await callHttps(call, reach, ends);
    if (!answer.ok) return { problem: answer.reason, isFinal: !PASSING.has(answer.reason) };
    const { headers: said, status } = answer.value;
    if (status < 300) return { isFinal: true };
    const seconds = Number(/^\d{1,6}$/.exec(said["retry-after"] ?? "")?.[0] ?? Number.NaN);
    return {
      problem: `status_${status}`,
      isFinal: status < 500 && status !== 429 && status !== 408,
      ...(Number.isNaN(seconds) ? {} : { pause: 1000 * seconds }),
    };
  }
}
