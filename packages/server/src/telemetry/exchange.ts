// SPDX-License-Identifier: Apache-2.0
/** What of a request that is over is looked at here: parts of the gateway's records, and none that quote the agent. */

export interface EndedDecision {
  readonly caller?: { readonly agent: string };
  readonly run: string;
  readonly method?: string;
  /** Only of use where `serverWorkload` is there: it is one of its hosts then. */
  readonly host?: string;
  readonly serverWorkload?: string;
  readonly operation?: string;
  /** As the agent wrote it. */
  readonly model?: string;
}

export interface EndedOutcome {
  readonly decisionId: string;
  /** Wall clock, milliseconds, of the end. */
  readonly time: number;
  readonly agent?: string;
  readonly serverWorkload?: string;
  readonly status?: number;
  readonly code?: string;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly durationMs: number;
  readonly usage?: Readonly<Record<string, number>>;
  readonly scrubbed: number;
  readonly ended: string;
}

/** Milliseconds of a monotonic clock. */
export interface EndedTiming {
  readonly begun: number;
  readonly decided?: number;
  readonly connecting?: number;
  readonly connected?: number;
  readonly sent?: number;
  readonly answered?: number;
  readonly answering?: number;
  readonly ended: number;
}

export interface ExchangeListener {
  ended(
    decision: EndedDecision | undefined,
    outcome: EndedOutcome,
    timing: EndedTiming,
    traceparent: string | undefined,
  ): void;
}
