// SPDX-License-Identifier: Apache-2.0
/** How a refusal looks on the wire: a problem (RFC 9457), `Proxy-Status` (RFC 9209) and the audit id. */
import type { Duplex } from "node:stream";
import { problem, PROBLEMS } from "@postern/contract";
import type { Exchange, HeaderList } from "./http/messages.ts";
import type { Refusal } from "./stages/refusal.ts";

/** Answers with the refusal; the agent may be gone already. */
export async function answerRefusal(
  exchange: Exchange,
  reason: Refusal,
  auditId: string | undefined,
): Promise<void> {
  const { status, headers, body } = refusalAnswer(reason, auditId);
  try {
    const answer = exchange.startAnswer({ status, headers });
    await answer.write(body);
    await answer.end();
  } catch {
    exchange.destroy();
  }
}

/** The same for a connection on which no exchange came about: a refused CONNECT, or bytes that are no request. */
export function endWithRefusal(socket: Duplex, reason: Refusal, auditId: string | undefined): void {
  if (!socket.writable) return void socket.destroy();
  const { status, title, headers, body } = refusalAnswer(reason, auditId);
  const lines = [...headers, ["connection", "close"], ["proxy-connection", "close"]].map((pair) =>
    pair.join(": "),
  );
  socket.end(
    Buffer.concat([Buffer.from(`HTTP/1.1 ${status} ${title}\r\n${lines.join("\r\n")}\r\n\r\n`), body]),
  );
}

/** Seconds, RFC 9110 §10.2.3. SDKs wait for less than a minute at most, and the next request is held again. */
const RETRY_APPROVAL = 5;

function refusalAnswer(
  reason: Refusal,
  auditId: string | undefined,
): { status: number; title: string; headers: HeaderList; body: Buffer } {
  const definition = PROBLEMS[reason.code];
  // Reasons before identification would tell a stranger what to try next.
  const reasons = reason.code === "agent_unidentified" ? undefined : reason.reasons;
  const body = problem(reason.code, reason.detail, {
    ...(auditId === undefined ? {} : { auditId }),
    ...(reasons === undefined ? {} : { reasons }),
  });
  const message = `Postern: ${reason.detail}. ${definition.nextStep}${auditId === undefined ? "" : ` [postern why ${auditId}]`}`;
  const bytes = Buffer.from(
    JSON.stringify({
      ...body,
      ...(reason.approval === undefined ? {} : { approval: reason.approval }),
      error: { type: "postern_refusal", code: reason.code, message },
    }),
  );
  const headers: [string, string][] = [
    ["content-type", "application/problem+json"],
    ["content-length", String(bytes.length)],
    ["cache-control", "no-store"],
    ["proxy-status", `postern; error=${definition.proxyError}; details="${reason.code}"`],
    // The OpenAI and Anthropic SDKs obey it: what will not change soon is not tried again.
    ["x-should-retry", String(isWorthWaiting(reason))],
    ...(reason.headers ?? []).map(([name, value]): [string, string] => [name, value]),
  ];
  const wait = reason.retryAfter ?? (reason.code === "approval_required" ? RETRY_APPROVAL : undefined);
  if (wait !== undefined) headers.push(["retry-after", String(wait)]);
  if (auditId !== undefined) headers.push(["postern-audit-id", auditId]);
  return { status: definition.status, title: definition.title, headers, body: bytes };
}

/** Seconds for which a client is told to wait and ask by itself. */
const SHORT = 60;

function isWorthWaiting({ code, retryAfter }: Refusal): boolean {
  if (!PROBLEMS[code].retryable) return false;
  // A budget that cannot hold the request at all says no time.
  return (retryAfter ?? (code === "budget_exhausted" ? SHORT + 1 : 0)) <= SHORT;
}

/** What an answer of the upstream carries besides its own headers. */
export function receiptHeaders(auditId: string, status: number): HeaderList {
  return [
    ["proxy-status", `postern; received-status=${status}`],
    ["postern-audit-id", auditId],
  ];
}
