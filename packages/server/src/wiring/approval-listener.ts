// SPDX-License-Identifier: Apache-2.0
/**
 * Where Slack, or whoever has the signing secret, says what a person clicked.
 *
 * A listener of its own: it takes one kind of request, small and signed, each once, and tells a stranger nothing.
 */
import { createHash } from "node:crypto";
import { lstatSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { ListenAddress } from "../config/config.ts";
import type { ApprovalDesk } from "../governance/approval-desk.ts";
import { readClick } from "../governance/approval-message.ts";
import type { Clock } from "../kernel/clock.ts";
import { faultFields, type Log } from "../kernel/log.ts";
import { type MessageKey, WINDOW } from "../keys/message-key.ts";
import type { EvidenceStore } from "../store/evidence-store.ts";

export interface ListenerParts {
  readonly desk: Pick<ApprovalDesk, "say" | "show">;
  key(): Promise<MessageKey>;
  readonly evidence: EvidenceStore;
  readonly clock: Clock;
  readonly log: Log;
}

const LARGEST_BODY = 100_000;
const LONGEST_EXCHANGE = 10_000;
const MOST_CONNECTIONS = 64;

export async function listenForClicks(
  where: ListenAddress,
  parts: ListenerParts,
): Promise<{ close(): void }> {
  const server = createServer({
    maxHeaderSize: 8192,
    headersTimeout: LONGEST_EXCHANGE / 2,
    requestTimeout: LONGEST_EXCHANGE / 2,
    connectionsCheckingInterval: LONGEST_EXCHANGE / 10,
    keepAliveTimeout: LONGEST_EXCHANGE / 2,
  });
  server.maxConnections = MOST_CONNECTIONS;
  server.on("request", (request, response) => {
    take(request, parts)
      .catch((error: unknown) => {
        parts.log.write("error", "what was said about an approval could not be taken", faultFields(error));
        return { status: 503, text: "it could not be taken, try again" };
      })
      .then(({ status, text }) => answer(response, status, text))
      .catch(() => response.destroy());
  });
  // A socket that was left behind by a killed server; anything else there stays and stops the start.
  if ("path" in where && lstatSync(where.path, { throwIfNoEntry: false })?.isSocket() === true)
    rmSync(where.path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, resolve);
  });
  return {
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

async function take(
  request: IncomingMessage,
  { clock, desk, evidence, key }: ListenerParts,
): Promise<Answer> {
  if (request.method !== "POST" || request.url !== "/slack/actions")
    return { status: 404, text: "POST /slack/actions" };
  const body = await readBody(request);
  if (body === undefined) return { status: 413, text: "too large" };
  const signature = headerOf(request, "x-slack-signature");
  const timestamp = headerOf(request, "x-slack-request-timestamp");
  const now = clock.now();
  if (!(await key()).verify({ timestamp, signature, body }, now).ok)
    return { status: 401, text: "not signed" };
  const click = readClick(body);
  if (!click.ok) return { status: 400, text: "not understood" };
  // Twice the window: as long as its time would be taken by any server of the same database.
  const digest = createHash("sha256").update(`approval callback ${signature}`).digest("hex");
  if (!(await evidence.useOnce(digest, now + 2000 * WINDOW))) return { status: 409, text: "said before" };
  const { approval, verdict, identity } = click.value;
  const shown = await desk.show(approval);
  if (shown?.digest !== click.value.digest) return { status: 404, text: "there is no such approval" };
  const said = await desk.say(approval, { verdict, identity, isOperator: false });
  return said.ok
    ? { status: 200, text: `approval ${approval} is ${said.value.state}` }
    : { status: said.reason.code === "operator_unauthorized" ? 403 : 409, text: said.reason.detail };
}

/** Undefined where it is not there exactly once: Node joins repeated ones with a comma, which no signature has. */
const headerOf = (request: IncomingMessage, name: string): string | undefined => {
  const value = request.headers[name];
  return typeof value === "string" ? value : undefined;
};

async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LARGEST_BODY) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function answer(response: ServerResponse, status: number, text: string): void {
  const body = JSON.stringify({ response_type: "ephemeral", replace_original: false, text });
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
  });
  response.end(body);
}
