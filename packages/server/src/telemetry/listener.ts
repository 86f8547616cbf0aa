// SPDX-License-Identifier: Apache-2.0
/**
 * Serves metrics, liveness and readiness to whoever may connect, and stays small whatever that one does.
 *
 * It has a listener of its own: agents inside a run have no way to it, and nothing on it changes anything.
 */
import { lstatSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { exposition, formatFor } from "./exposition.ts";
import type { MetricFamily } from "./metric-family.ts";
import type { Readiness } from "./readiness.ts";
import { recent } from "./recent.ts";

export type ListenAddress = { readonly host: string; readonly port: number } | { readonly path: string };

export interface Shown {
  readonly metrics: () => Promise<readonly MetricFamily[]>;
  readonly readiness: () => Promise<Readiness>;
}

/** The whole of a request and its answer must be done by then. */
export const LONGEST_EXCHANGE = 10_000;
const MOST_CONNECTIONS = 64;
/** As long one text serves all scrapes, so that scraping without pause costs the gateway nothing. */
const FRESH = 200;

export interface TelemetryListener {
  /** Where it listens in fact: a port of 0 means any. */
  readonly address: string;
  close(): Promise<void>;
}

export async function listen(
  where: ListenAddress,
  shown: Shown,
  longestExchange = LONGEST_EXCHANGE,
): Promise<TelemetryListener> {
  const metrics = recent(() => shown.metrics(), FRESH);
  const server = createServer({
    maxHeaderSize: 8192,
    headersTimeout: longestExchange / 2,
    requestTimeout: longestExchange / 2,
    connectionsCheckingInterval: longestExchange / 10,
    keepAliveTimeout: longestExchange / 2,
  });
  server.maxConnections = MOST_CONNECTIONS;
  server.maxRequestsPerSocket = 1000;
  server.on("request", (request, response) => {
    // Whoever reads slowly loses the connection: what is not read yet takes memory.
    const deadline = setTimeout(() => request.socket.destroy(), longestExchange);
    response.once("close", () => clearTimeout(deadline));
    answer(request, response, { ...shown, metrics }).catch(() => response.destroy());
  });
  await bind(server, where);
  return {
    address: addressOf(server),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, shown: Shown): Promise<void> {
  const path = request.url?.split("?", 1)[0];
  if (request.method !== "GET" && request.method !== "HEAD")
    return send(response, 405, "text/plain", "only GET\n", { allow: "GET, HEAD" });
  // That this line runs is all that liveness means.
  if (path === "/healthz") return send(response, 200, "application/json", '{"alive":true}\n');
  if (path === "/readyz") {
    const readiness = await shown.readiness();
    return send(response, readiness.ready ? 200 : 503, "application/json", `${JSON.stringify(readiness)}\n`);
  }
  if (path !== "/metrics") return send(response, 404, "text/plain", "/metrics, /healthz or /readyz\n");
  const { contentType, text } = exposition(await shown.metrics(), formatFor(request.headers.accept));
  return send(response, 200, contentType, text);
}

function send(
  response: ServerResponse,
  status: number,
  type: string,
  text: string,
  more: Readonly<Record<string, string>> = {},
): void {
  const length = Buffer.byteLength(text);
  response.writeHead(status, {
    ...more,
    "content-type": type,
    "content-length": length,
    "cache-control": "no-store",
  });
  response.end(text);
}

function bind(server: Server, where: ListenAddress): Promise<void> {
  // A socket that was left behind by a killed server; anything else there stays and stops the start.
  if ("path" in where && isSocket(where.path)) rmSync(where.path, { force: true });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, resolve);
  });
}

const isSocket = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true;

function addressOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === "string") return `unix:${address ?? ""}`;
  const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return `${host}:${address.port}`;
}
