// SPDX-License-Identifier: Apache-2.0
/**
 * Which credentials does a request carry, and where?
 *
 * Real providers take the first one they like. A stand-in refuses two at once, so that a gateway which
 * leaves the agent's placeholder beside the injected key fails its test.
 */
import type { IncomingMessage } from "node:http";

export interface CarriedCredential {
  readonly carrier:
    | "bearer"
    | "basic"
    | "authorization"
    | "x-api-key"
    | "x-goog-api-key"
    | "api-key"
    | "query"
    | "subprotocol";
  readonly value: string;
}

const HEADER_CARRIERS = ["x-api-key", "x-goog-api-key", "api-key"] as const;

/** All of them, counting a header that occurs twice as two. */
export function findCredentials(request: IncomingMessage): readonly CarriedCredential[] {
  const found: CarriedCredential[] = [];
  const raw = request.rawHeaders;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase();
    const value = raw[i + 1]!;
    if (name === "authorization") found.push(parseAuthorization(value));
    for (const carrier of HEADER_CARRIERS) if (name === carrier) found.push({ carrier, value });
  }
  for (const name of (request.headers["sec-websocket-protocol"] ?? "").split(/\s*,\s*/)) {
    const value = /^openai-insecure-api-key\.(.*)$/.exec(name)?.[1];
    if (value !== undefined) found.push({ carrier: "subprotocol", value });
  }
  const query = new URL(request.url ?? "/", "https://stand-in").searchParams;
  for (const value of query.getAll("key")) found.push({ carrier: "query", value });
  return found;
}

function parseAuthorization(value: string): CarriedCredential {
  const [, scheme, rest] = /^(\S+) +(.*)$/.exec(value) ?? [];
  if (scheme?.toLowerCase() === "bearer") return { carrier: "bearer", value: rest ?? "" };
  if (scheme?.toLowerCase() === "basic") return { carrier: "basic", value: rest ?? "" };
  return { carrier: "authorization", value };
}
