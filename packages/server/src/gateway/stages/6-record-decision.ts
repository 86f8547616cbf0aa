// SPDX-License-Identifier: Apache-2.0
/**
 * Stage 6: the decision is written before anything leaves, or the request stops.
 *
 * When it returns, the record survives a killed process; `durable` resolves when it survives a power cut,
 * and is awaited before the first byte of the answer reaches the agent.
 */
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { AuditSink, DecisionRecord } from "../ports.ts";
import { type Refusal, refusal } from "./refusal.ts";

export interface RecordedDecision {
  readonly id: string;
  readonly durable: Promise<void>;
}

export function recordDecision(audit: AuditSink, record: DecisionRecord): Result<RecordedDecision, Refusal> {
  try {
    const { durable } = audit.decision(record);
    durable.catch(() => {}); // awaited later; must not count as unhandled until then
    return ok({ id: record.id, durable });
  } catch {
    return refuse(refusal("audit_unavailable", "the decision cannot be written to the audit log"));
  }
}

export const NOT_DURABLE = refusal(
  "audit_unavailable",
  "the decision cannot be made durable in the audit log",
);

/** Whether the record reached the disk. */
export const durably = (recorded: RecordedDecision): Promise<boolean> =>
  recorded.durable.then(
    () => true,
    () => false,
  );
