// SPDX-License-Identifier: Apache-2.0
/** A request as it would leave, whole, so that a person can see it, and a digest by which it is known again. */
import { createHash } from "node:crypto";
import type { HeaderList } from "./http/messages.ts";
import type { GuardedRequest } from "./stages/7-guard-request.ts";

/** Without the credential, which is placed later, and without what the gateway writes anew for each connection. */
export interface HeldRequest {
  readonly method: string;
  /** Host and port that it is for. */
  readonly authority: string;
  readonly path: string;
  readonly query: string;
  readonly headers: HeaderList;
  readonly body: Buffer | undefined;
}

/**
 * Clients write these anew each time they try. They are not sent with a held request: what is sent is what was seen, and
 * a header that may differ would be a place to say something else in.
 */
const CHANGES_WITH_EACH_TRY: ReadonlySet<string> = new Set([
  ...["x-stainless-retry-count", "x-stainless-timeout", "x-stainless-read-timeout", "amz-sdk-request"],
  ...[
    "traceparent",
    "tracestate",
    "baggage",
    "sentry-trace",
    "b3",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
  ],
  ...["x-request-id", "x-client-request-id", "x-correlation-id", "date", "amz-sdk-invocation-id"],
]);

/** Of a request whose body has been read whole. */
export function hold(guarded: GuardedRequest, body: Buffer | undefined, authority: string): HeldRequest {
  const { method, path, query } = guarded;
  return { ...{ method, authority, path, query, body }, headers: heldHeaders(guarded.headers) };
}

export const heldHeaders = (headers: HeaderList): HeaderList =>
  headers.filter(([name]) => !CHANGES_WITH_EACH_TRY.has(name) && !name.startsWith("x-b3-"));

/** SHA-256, in hex. One byte of what would be sent makes it another. */
export function digestOfHeld({ method, authority, path, query, headers, body }: HeldRequest): string {
  const content = body === undefined ? null : createHash("sha256").update(body).digest("hex");
  const text = JSON.stringify(["postern request", 1, method, authority, path, query, headers, content]);
  return createHash("sha256").update(text).digest("hex");
}
