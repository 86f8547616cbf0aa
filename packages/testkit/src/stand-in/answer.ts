// SPDX-License-Identifier: Apache-2.0
/** How is an answer put on the wire: as JSON, or as server-sent events with back-pressure? */
import { randomBytes } from "node:crypto";
import type { Exchange } from "./tls-stand-in.ts";

/** Random name in the provider's style: prefix and `length` base-62-like characters. */
export function newStandInId(prefix: string, length = 24): string {
  return prefix + randomBytes(length).toString("hex").slice(0, length);
}

export function sendJson(
  { response }: Exchange,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const bytes = Buffer.from(JSON.stringify(body, null, 2));
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": bytes.length,
    ...headers,
  });
  response.end(bytes);
}

/** Sends the events one by one; each is the whole text of an event without its empty line. */
export async function sendEvents(
  exchange: Exchange,
  events: Iterable<string>,
  headers: Readonly<Record<string, string>> = {},
  separator: "\n\n" | "\r\n\r\n" = "\n\n",
): Promise<void> {
  const { response } = exchange;
  const stream = exchange.trackStream();
  response.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    ...headers,
  });
  for (const event of events) {
    if (response.destroyed) return;
    await new Promise<void>((resolve) => response.write(event + separator, () => resolve()));
    stream.events++;
  }
  response.end();
}

/** An event with a name and a JSON payload. */
export const namedEvent = (name: string, data: unknown) => `event: ${name}\ndata: ${JSON.stringify(data)}`;

export const dataEvent = (data: unknown) => `data: ${JSON.stringify(data)}`;

/** Roughly four characters per token, never none. */
export const countTokens = (value: unknown) =>
  Math.max(1, Math.ceil((JSON.stringify(value) ?? "").length / 4));

/** The sentence that every stand-in model says, in the pieces in which it streams. */
export const ANSWER_PIECES = ["Hello", " from", " the", " stand-in", "."] as const;
export const ANSWER_TEXT = ANSWER_PIECES.join("");
