// SPDX-License-Identifier: Apache-2.0
/**
 * Which decisions does an exported log hold? As a stream in constant memory, and believed only where the log verifies.
 */
import { type ExportRefusal, type ExportVerified, verifyExportBytes } from "../audit/verify-export.ts";
import type { Result } from "../kernel/result.ts";
import { parseDecision, type RecordedDecision } from "../policy/recorded-decision.ts";

export interface ReadOptions {
  /** The key that the caller trusts; without it the export vouches for itself. */
  readonly vkey?: string | undefined;
  /** Milliseconds; older decisions are passed over. */
  readonly since?: number | undefined;
  readonly agent?: string | undefined;
  /** Told now and then how many entries were read so far. */
  readonly onProgress?: ((entries: number) => void) | undefined;
  /** Given every other event of the period, parsed, where somebody wants them. */
  readonly onOther?: ((event: unknown) => void) | undefined;
}

const DECISION = Buffer.from('"kind":"decision"');
const PROGRESS_EVERY = 10_000;

/** Calls `visit` for each decision. What it was given counts for nothing where this refuses. */
export function readDecisions(
  chunks: AsyncIterable<Uint8Array>,
  visit: (decision: RecordedDecision) => void,
  { vkey, since = 0, agent, onProgress, onOther }: ReadOptions = {},
): Promise<Result<ExportVerified, ExportRefusal>> {
  let entries = 0;
  const onEntry = (entry: Buffer): void => {
    entries++;
    if (entries % PROGRESS_EVERY === 0) onProgress?.(entries);
    const isDecision = entry.includes(DECISION);
    if (!isDecision && onOther === undefined) return;
    const event = parsed(entry);
    const decision = isDecision ? parseDecision(event) : undefined;
    if (decision === undefined) return onOther?.(event);
    if (decision.time >= since && (agent === undefined || decision.agent === agent)) visit(decision);
  };
  return verifyExportBytes(chunks, { vkey, onEntry });
}

/** What is no JSON is no decision: the log itself never wrote it, and verification says so. */
function parsed(entry: Buffer): unknown {
  try {
    return JSON.parse(entry.toString("utf8"));
  } catch {
    return undefined;
  }
}
