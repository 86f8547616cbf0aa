// SPDX-License-Identifier: Apache-2.0
/**
 * An upstream that answers in events, as LLM APIs do: a hundred of them, or without end where the request's path says
 * so. `node event-upstream.ts KEY CERTIFICATE` prints its port.
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { ServerResponse } from "node:http";

const EVENTS = 100;
const [key = "", certificate = ""] = process.argv.slice(2);
const event = `data: ${JSON.stringify({ id: "chatcmpl-1", choices: [{ delta: { content: "word " } }] })}\n\n`;

const server = createServer(
  { key: readFileSync(key), cert: readFileSync(certificate) },
  (request, response) => {
    request.resume();
    request.on("end", () => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      if (request.url?.endsWith("/completions") === true) send(response, EVENTS);
      else endless(response);
    });
  },
);
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port));

function send(response: ServerResponse, left: number): void {
  if (left === 0) return void response.end("data: [DONE]\n\n");
  response.write(event);
  setImmediate(send, response, left - 1);
}

function endless(response: ServerResponse): void {
  response.write(event);
  const timer = setInterval(() => response.write(event), 20);
  response.on("close", () => clearInterval(timer));
}
