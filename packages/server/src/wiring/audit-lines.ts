// SPDX-License-Identifier: Apache-2.0
import type { AuditLog } from "../audit/log.ts";

/** The newest entries as they are in the log, oldest first. */
export async function* tailOf(log: AuditLog, lines: number): AsyncGenerator<Buffer> {
  for await (const { bytes } of log.entries(Math.max(0, log.size() - lines))) yield bytes;
}
