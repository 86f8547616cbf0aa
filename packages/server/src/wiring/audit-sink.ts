// SPDX-License-Identifier: Apache-2.0
/** Puts what the gateway records into the audit log. */
import { decisionEvent, type DecisionInput, outcomeEvent } from "../audit/events.ts";
import type { AuditLog } from "../audit/log.ts";
import type { AuditSink, DecisionRecord } from "../gateway/ports.ts";

export function auditSink(log: AuditLog): AuditSink {
  return {
    decision: (record) => log.append(decisionEvent(decisionInput(record))),
    // Nobody waits for it: a log that cannot be written refuses the next decision.
    outcome: (record) => log.appendSoon(outcomeEvent(record)),
  };
}

/** Member by member: this is done for each request, and copying an object costs ten times as much. */
function decisionInput(record: DecisionRecord): DecisionInput {
  const { caller } = record;
  return {
    id: record.id,
    time: record.time,
    agent: caller?.agent,
    run: record.run,
    isolated: record.isolated,
    process: caller?.process,
    selectors: caller?.selectors ?? [],
    serverWorkload: record.serverWorkload,
    operation: record.operation,
    model: record.model,
    method: record.method,
    host: record.host,
    path: record.path,
    outcome: record.outcome,
    code: record.code,
    reasons: record.reasons,
    policies: record.policies,
    detail: record.detail,
    credentialProvider: record.credentialProvider,
    policyDigest: record.policyDigest,
    mode: record.mode,
    peer: record.peer,
    svid: caller?.svid,
    conditions: record.conditions,
    approval: record.approval,
    approvedBy: record.approvedBy,
    requestDigest: record.requestDigest,
    reserved: record.reserved,
    dryRun: record.dryRun,
  };
}
