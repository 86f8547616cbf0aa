// SPDX-License-Identifier: Apache-2.0
/** Which trace does the agent's request belong to: the header `traceparent`, W3C Trace Context §3.2. */

export interface TraceParent {
  readonly traceId: string;
  readonly spanId: string;
  readonly flags: number;
}

const FORM = /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-[\x20-\x7e]{0,200})?$/;

/** Undefined where it is not valid: a new trace begins then (§3.2.2.3, "if the value is invalid"). */
export function parseTraceparent(value: string): TraceParent | undefined {
  if (value.length > 256) return undefined;
  const [, version, traceId, spanId, flags, rest] = FORM.exec(value) ?? [];
  if (version === undefined || version === "ff") return undefined;
  // Only later versions may say more.
  if (version === "00" && rest !== undefined) return undefined;
  if (/^0+$/.test(traceId!) || /^0+$/.test(spanId!)) return undefined;
  return { traceId: traceId!, spanId: spanId!, flags: Number.parseInt(flags!, 16) };
}
