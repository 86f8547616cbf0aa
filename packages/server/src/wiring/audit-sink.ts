// SPDX-License-Identifier: Apache-2.0
/** Puts what the gateway records into the audit log. */
import { decisionEvent, outcomeEvent } from "../audit/events.ts";
import type { AuditLog } from "../audit/log.ts";
import type { AuditSink } from "../gateway/ports.ts";

export function auditSink(log: AuditLog): AuditSink {
  return {
    decision: ({ caller, mode, ...record }) =>
      log.append(
        decisionEvent({
          ...record,
          agent: caller?.agent,
          process: caller?.process,
          selectors: caller?.selectors ?? [],
          mode,
        }),
      ),
    // Nobody waits for it: a log that cannot be written refuses the next decision.
    outcome: (record) => log.appendSoon(outcomeEvent(record)),
  };
}
