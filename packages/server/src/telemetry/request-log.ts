// SPDX-License-Identifier: Apache-2.0
/** Which line does the log get when a request is over: refused ones at `info`, all others at `debug`. */
import type { Log } from "../kernel/log.ts";
import type { EndedDecision, EndedOutcome, ExchangeListener } from "./exchange.ts";

/** The level does not follow the problem's weight: an agent could fill the log of warnings. */
export class RequestLog implements ExchangeListener {
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  ended(decision: EndedDecision | undefined, outcome: EndedOutcome): void {
    const { agent, serverWorkload, decisionId: auditId, code, ended, status, durationMs } = outcome;
    const fields = { auditId, run: decision?.run, agent, serverWorkload, operation: decision?.operation };
    if (code === undefined)
      this.#log.write("debug", "request passed", { ...fields, ended, status, durationMs });
    else this.#log.write("info", "request refused", { ...fields, code });
  }
}
