// SPDX-License-Identifier: Apache-2.0
/**
 * What of a message may pass? To the agent everything passes, secrets masked; to the upstream nothing passes that
 * holds a secret or a placeholder. As stages 7 and 12 do it for requests and answers.
 */
import { MessageScrubber } from "../../guard/message-scrubber.ts";
import type { Matcher } from "../../guard/pattern-matcher.ts";
import { holdsPlaceholder, PlaceholderWatch } from "../../guard/placeholder.ts";
import { holdsPattern, Scrubber } from "../../guard/scrubber.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { type Refusal, refusal } from "../stages/refusal.ts";

export interface MessageGuard {
  /** Patterns that were replaced so far. */
  readonly found: number;
  /** The next bytes of a message, and what of it may pass now. */
  data(bytes: Buffer, ends: boolean, matcher: Matcher): Result<Buffer, Refusal>;
  /** What a control frame carries, which is always the whole of it. */
  control(bytes: Buffer, matcher: Matcher): Result<Buffer, Refusal>;
}

export class AnswerGuard implements MessageGuard {
  readonly #scrubber = new MessageScrubber();
  #inControl = 0;

  get found(): number {
    return this.#scrubber.found + this.#inControl;
  }

  data(bytes: Buffer, ends: boolean, matcher: Matcher): Result<Buffer, Refusal> {
    return ok(this.#scrubber.push(bytes, ends, matcher));
  }

  control(bytes: Buffer, matcher: Matcher): Result<Buffer, Refusal> {
    const scrubber = new Scrubber(matcher);
    const clean = Buffer.concat([scrubber.push(bytes), scrubber.end()]);
    this.#inControl += scrubber.found;
    return ok(clean);
  }
}

const PLACEHOLDER_LEFT = refusal("content_refused", "a placeholder would leave in a message", [
  "placeholder_left",
]);
const SECRET_LEAVING = refusal("content_refused", "a secret of the vault would leave in a message", [
  "secret_leaving",
]);

export class RequestGuard implements MessageGuard {
  readonly #watch = new PlaceholderWatch();
  readonly #scrubber = new MessageScrubber();
  readonly found = 0;

  data(bytes: Buffer, ends: boolean, matcher: Matcher): Result<Buffer, Refusal> {
    if (this.#watch.seesIn(bytes)) return refuse(PLACEHOLDER_LEFT);
    const piece = this.#scrubber.push(bytes, ends, matcher);
    return this.#scrubber.found > 0 ? refuse(SECRET_LEAVING) : ok(piece);
  }

  control(bytes: Buffer, matcher: Matcher): Result<Buffer, Refusal> {
    if (holdsPlaceholder(bytes.toString("latin1"))) return refuse(PLACEHOLDER_LEFT);
    return holdsPattern(matcher, bytes) ? refuse(SECRET_LEAVING) : ok(bytes);
  }
}
