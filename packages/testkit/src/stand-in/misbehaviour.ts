// SPDX-License-Identifier: Apache-2.0
/**
 * How does an upstream behave that is broken or hostile?
 *
 * A request asks for it by its model name (`stand-in-echo`) or by its path (`/stand-in/echo`); a test sets
 * it for all requests with `setMisbehaviour`. The right credential is needed all the same.
 *
 * | name          | what happens                                                                          |
 * | ------------- | ------------------------------------------------------------------------------------- |
 * | `echo`        | request headers come back: in the body raw and in base64, and in response headers      |
 * | `echo-split`  | the same body, written in pieces of 1 to 7 bytes                                        |
 * | `echo-stream` | the same as server-sent events, cut at arbitrary places, some of them inside the value |
 * | `echo-gzip`   | the same body, gzip-encoded whatever the client accepts                                 |
 * | `echo-error`  | the same in a 400 answer                                                               |
 * | `endless`     | one event every `endlessInterval` ms until the other side goes away                    |
 * | `redirect`    | 307 to `redirectTo`, which is another host                                             |
 * | `gzip`        | a harmless gzip-encoded JSON answer                                                    |
 * | `reset`       | the connection is reset in the middle of the answer                                    |
 * | `half-close`  | the body ends short of its Content-Length                                              |
 * | `error-429`   | the provider's rate-limit error with `Retry-After`; `error-500`, `error-529` likewise  |
 */
import { setTimeout as delay } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import type { TLSSocket } from "node:tls";
import type { Exchange, Provider, StandInOptions } from "./tls-stand-in.ts";

export const MISBEHAVIOURS = [
  "echo",
  "echo-split",
  "echo-stream",
  "echo-gzip",
  "echo-error",
  "endless",
  "redirect",
  "gzip",
  "reset",
  "half-close",
  "error-429",
  "error-500",
  "error-529",
] as const;
export type Misbehaviour = (typeof MISBEHAVIOURS)[number];

/** The model that asks for a misbehaviour. */
export const hostileModel = <M extends Misbehaviour>(misbehaviour: M) => `stand-in-${misbehaviour}` as const;

/** What this request asks for by path or model name, if anything. */
export function wantedMisbehaviour({ request, url }: Exchange): Misbehaviour | undefined {
  const model = (request.json as { model?: unknown } | undefined)?.model;
  const wanted =
    /\/stand-in\/([a-z0-9-]+)$/.exec(url.pathname)?.[1] ??
    /\/models\/stand-in-([a-z0-9-]+):/.exec(url.pathname)?.[1] ??
    (typeof model === "string" ? /^(?:models\/)?stand-in-([a-z0-9-]+)$/.exec(model)?.[1] : undefined);
  return MISBEHAVIOURS.find((name) => name === wanted);
}

export async function misbehave(
  misbehaviour: Misbehaviour,
  exchange: Exchange,
  provider: Provider,
  options: StandInOptions,
): Promise<void> {
  switch (misbehaviour) {
    case "echo":
    case "echo-error":
      return echoWhole(exchange, misbehaviour === "echo" ? 200 : 400);
    case "echo-split":
      return echoSplit(exchange);
    case "echo-stream":
      return echoStream(exchange);
    case "echo-gzip":
      return sendGzip(exchange, reflection(exchange));
    case "gzip":
      return sendGzip(exchange, JSON.stringify({ object: "stand-in", text: "hello from gzip" }));
    case "endless":
      return streamEndlessly(exchange, provider, options.endlessInterval ?? 50);
    case "redirect":
      exchange.response.writeHead(307, {
        location: options.redirectTo ?? "https://elsewhere.example/collect",
      });
      return void exchange.response.end();
    case "reset":
      return breakOff(exchange, (socket) => socket.resetAndDestroy());
    case "half-close":
      return breakOff(exchange, (socket) => socket.end());
    case "error-429":
      return provider.fail(exchange, 429);
    case "error-500":
      return provider.fail(exchange, 500);
    case "error-529":
      return provider.fail(exchange, 529);
  }
}

/** The request headers as JSON: each value raw, and the whole once more in base64 and base64url. */
function reflection({ request }: Exchange): string {
  const headers: Record<string, string> = {};
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    headers[request.rawHeaders[i]!] = request.rawHeaders[i + 1]!;
  }
  const values = Object.values(headers);
  return JSON.stringify({
    object: "stand-in.echo",
    target: request.target,
    headers,
    base64: values.map((value) => Buffer.from(value).toString("base64")),
    base64url: values.map((value) => Buffer.from(value).toString("base64url")),
    hex: values.map((value) => Buffer.from(value).toString("hex")),
  });
}

/** The credential's own header values, for the response headers. */
function reflectedHeaders({ request }: Exchange): Record<string, string> {
  const value = request.credentials[0]?.value ?? "";
  return { "x-echo-raw": value, "x-echo-base64": Buffer.from(value).toString("base64") };
}

function echoWhole(exchange: Exchange, status: number): void {
  exchange.response.writeHead(status, { "content-type": "application/json", ...reflectedHeaders(exchange) });
  exchange.response.end(reflection(exchange));
}

async function echoSplit(exchange: Exchange): Promise<void> {
  const { response } = exchange;
  response.socket?.setNoDelay(true);
  response.writeHead(200, { "content-type": "application/json", ...reflectedHeaders(exchange) });
  await writeInPieces(exchange, reflection(exchange));
  response.end();
}

async function echoStream(exchange: Exchange): Promise<void> {
  const { response, request } = exchange;
  const stream = exchange.trackStream();
  response.socket?.setNoDelay(true);
  response.writeHead(200, { "content-type": "text/event-stream", ...reflectedHeaders(exchange) });
  for (const { value } of request.credentials) {
    for (const text of [value, Buffer.from(value).toString("base64")]) {
      await writeInPieces(exchange, `data: ${JSON.stringify({ echo: text })}\n\n`);
      stream.events++;
    }
  }
  response.end("data: [DONE]\n\n");
}

/** Pieces of 1 to 7 bytes, each its own TLS record and HTTP chunk. */
async function writeInPieces({ response }: Exchange, text: string): Promise<void> {
  const bytes = Buffer.from(text);
  for (
    let start = 0, size = 1;
    start < bytes.length && !response.destroyed;
    start += size, size = (size % 7) + 1
  ) {
    await new Promise<void>((resolve) =>
      response.write(bytes.subarray(start, start + size), () => resolve()),
    );
  }
}

function sendGzip({ response }: Exchange, text: string): void {
  const body = gzipSync(text);
  response.writeHead(200, {
    "content-type": "application/json",
    "content-encoding": "gzip",
    "content-length": body.length,
  });
  response.end(body);
}

async function streamEndlessly(exchange: Exchange, provider: Provider, interval: number): Promise<void> {
  const { response } = exchange;
  const stream = exchange.trackStream();
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  while (!response.destroyed) {
    response.write(provider.endlessEvent(stream.events++));
    await delay(interval);
  }
}

async function breakOff({ response }: Exchange, end: (socket: TLSSocket) => void): Promise<void> {
  response.writeHead(200, { "content-type": "application/json", "content-length": 1000 });
  await new Promise<void>((resolve) => response.write('{"object":"stand-in","text":"half', () => resolve()));
  if (response.socket !== null) end(response.socket as TLSSocket);
}
