// SPDX-License-Identifier: Apache-2.0
/** What of a request that is over is looked at here: parts of the gateway's records, and none that quote the agent. */

export interface EndedDecision {
  readonly caller?: { readonly agent: string } | undefined;
  readonly run?: string | undefined;
  readonly method?: string | undefined;
  /** Only of use where `serverWorkload` is there: it is one of its hosts then. */
  readonly host?: string | undefined;
  readonly serverWorkload?: string | undefined;
  readonly operation?: string | undefined;
  readonly outcome: "allow" | "deny";
  /** What the policies in dry-run would make of it. */
  readonly dryRun?: { readonly outcome: "allow" | "deny" } | undefined;
  /** As the agent wrote it. */
  readonly model?: string | undefined;
}

export interface EndedOutcome {
  readonly decisionId: string;
  /** Wall clock, milliseconds, of the end. */
  readonly time: number;
  readonly agent?: string | undefined;
  readonly serverWorkload?: string | undefined;
  readonly status?: number | undefined;
  readonly code?: string | undefined;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly durationMs: number;
  readonly usage?: Readonly<Record<string, number>> | undefined;
  readonly scrubbed: number;
  readonly ended: string;
}

/** Milliseconds of a monotonic clock. */
export interface EndedTiming {
  readonly begun: number;
  readonly decided?: number | undefined;
  readonly connecting?: number | undefined;
  readonly connected?: number | undefined;
  readonly sent?: number | undefined;
  readonly answered?: number | undefined;
  readonly answering?: number | undefined;
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
