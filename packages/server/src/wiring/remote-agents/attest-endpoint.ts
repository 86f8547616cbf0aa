// SPDX-License-Identifier: Apache-2.0
/**
 * `POST /v1/attest` for strangers: evidence in, an identity out, or one word.
 *
 * Anybody can reach it, so size, time, number at once and number in a minute are bounded before a byte is parsed.
 */
import type { AttestRequest, AttestResponse } from "@postern/contract";
import type { OwnEndpoints } from "../../gateway/gateway.ts";
import type { Exchange } from "../../gateway/http/messages.ts";
import { attestRequestSchema } from "../../api/attest-request.ts";
import { faultFields, type Log } from "../../kernel/log.ts";
import type { RateLimit } from "./rate-limit.ts";

export interface AttestEndpointParts {
  attest(request: AttestRequest, peer: string): Promise<AttestResponse>;
  readonly log: Log;
  /** By where the caller comes from. */
  readonly rate: RateLimit;
}

export const ATTEST_PATH = "/v1/attest";
/** Evidence of the greatest size in base64, a certificate request, and what is around them. */
const MOST_BYTES = 131_072;
const LONGEST_READ = 10_000;
const MOST_AT_ONCE = 64;

type Answer = { readonly status: number; readonly body: object; readonly retryAfter?: number };

const REFUSED: Answer = { status: 403, body: { outcome: "refused" } };
const BUSY: Answer = { status: 429, body: { outcome: "unavailable" }, retryAfter: 5 };
const UNAVAILABLE: Answer = { status: 503, body: { outcome: "unavailable" }, retryAfter: 5 };

/** One for all connections: what is counted is counted together. */
export function attestEndpoint(parts: AttestEndpointParts): (peer: string) => OwnEndpoints {
  let atOnce = 0;
  return (peer) => (exchange) => {
    const { method, target } = exchange.request;
    if (target !== ATTEST_PATH) return false;
    if (method !== "POST") void answer(exchange, { status: 405, body: { outcome: "refused" } });
    else if (atOnce >= MOST_AT_ONCE || !parts.rate.take(peer)) void answer(exchange, BUSY);
    else {
      atOnce++;
      void attested(exchange, peer, parts)
        .catch((error: unknown) => {
          parts.log.write("error", "evidence could not be checked", faultFields(error));
          return UNAVAILABLE;
        })
        .then((given) => answer(exchange, given))
        .finally(() => atOnce--);
    }
    return true;
  };
}

async function attested(exchange: Exchange, peer: string, { attest }: AttestEndpointParts): Promise<Answer> {
  const body = await readBody(exchange);
  const request = body === undefined ? undefined : parsed(body);
  if (request === undefined) return REFUSED;
  const { agent: _agent, ...told } = await attest(request, peer);
  if (told.outcome === "matched") return { status: 200, body: told };
  return { ...(told.outcome === "refused" ? REFUSED : UNAVAILABLE), body: told };
}

function parsed(body: Buffer): AttestRequest | undefined {
  try {
    const request = attestRequestSchema.safeParse(JSON.parse(body.toString("utf8")));
    // Not every caller writes what only operators may ask for.
    return request.success ? (request.data as AttestRequest) : undefined;
  } catch {
    return undefined;
  }
}

/** Undefined where it is too long, or takes too long. */
async function readBody(exchange: Exchange): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  const timer = setTimeout(() => exchange.destroy(), LONGEST_READ);
  try {
    for await (const chunk of exchange.request.body) {
      size += chunk.length;
      if (size > MOST_BYTES) return undefined;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } finally {
    clearTimeout(timer);
  }
}

async function answer(exchange: Exchange, { body, retryAfter, status }: Answer): Promise<void> {
  const bytes = Buffer.from(JSON.stringify(body));
  const headers: [string, string][] = [
    ["content-type", "application/json"],
    ["content-length", String(bytes.length)],
    ["cache-control", "no-store"],
  ];
  if (retryAfter !== undefined) headers.push(["retry-after", String(retryAfter)]);
  try {
    const started = exchange.startAnswer({ status, headers });
    await started.end(bytes);
  } catch {
    exchange.destroy();
  }
}
