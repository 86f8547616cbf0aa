// SPDX-License-Identifier: Apache-2.0
import type { ProblemCode } from "@postern/contract";
import type { HeaderList } from "../http/messages.ts";
import type { DryRun } from "../../policy/access-request.ts";

/** Why a stage stops a request. `detail` goes to the agent: it holds no secret and nothing of other agents. */
export interface Refusal {
  readonly code: ProblemCode;
  readonly detail: string;
  readonly reasons?: readonly string[];
  readonly policies?: readonly string[];
  /** Where a person is asked: the agent is told what it waits for. */
  readonly approval?: {
    readonly id: string;
    readonly status: "pending" | "denied";
    readonly digest: string;
    readonly expiresAt: string;
  };
  /** Seconds after which the same request may pass. */
  readonly retryAfter?: number;
  /** More headers for the answer. */
  readonly headers?: HeaderList;
  /** For the log alone. */
  readonly dryRun?: DryRun;
}

export const refusal = (code: ProblemCode, detail: string, reasons?: readonly string[]): Refusal => ({
  code,
  detail,
  ...(reasons === undefined ? {} : { reasons }),
});
