// SPDX-License-Identifier: Apache-2.0
/**
 * What does wss://api.openai.com/v1/realtime say? It begins with the session, answers `response.create` with the
 * stand-in's sentence, and gives every other message back as it came.
 *
 * The model `stand-in-echo` reflects the credential: in text, in binary, in fragments, a ping, and what closes.
 */
import type { WebSocket } from "ws";
import { ANSWER_PIECES, ANSWER_TEXT, newStandInId } from "./answer.ts";
import type { Exchange } from "./tls-stand-in.ts";

export function converseRealtime(peer: WebSocket, { url, key }: Exchange): void {
  const model = url.searchParams.get("model") ?? "";
  const say = (event: Record<string, unknown>): void =>
    peer.send(JSON.stringify({ event_id: newStandInId("event_"), ...event }));
  say({ type: "session.created", session: { id: newStandInId("sess_"), type: "realtime", model } });
  if (model === "stand-in-echo") return reflect(peer, key);
  peer.on("message", (data: Buffer, isBinary: boolean) => {
    if (!isBinary && typeOf(data) === "response.create") return respond(say);
    peer.send(data, { binary: isBinary });
  });
}

function typeOf(data: Buffer): unknown {
  try {
    return (JSON.parse(data.toString()) as { type?: unknown } | null)?.type;
  } catch {
    return undefined;
  }
}

function respond(say: (event: Record<string, unknown>) => void): void {
  const response = { id: newStandInId("resp_"), object: "realtime.response" };
  say({ type: "response.created", response: { ...response, status: "in_progress" } });
  for (const delta of ANSWER_PIECES)
    say({ type: "response.output_text.delta", response_id: response.id, delta });
  say({ type: "response.output_text.done", response_id: response.id, text: ANSWER_TEXT });
  const usage = { total_tokens: 12, input_tokens: 7, output_tokens: ANSWER_PIECES.length };
  say({ type: "response.done", response: { ...response, status: "completed", usage } });
}

function reflect(peer: WebSocket, key: string): void {
  const base64 = Buffer.from(`key:${key}`).toString("base64");
  peer.send(JSON.stringify({ type: "error", error: { message: `bad key ${key}` } }));
  peer.send(Buffer.from(`binary ${key} ${base64}`));
  // A fragment of every size from one byte on.
  for (let start = 0, size = 1; start < key.length; start += size, size++)
    peer.send(key.slice(start, start + size), { fin: false });
  peer.send("", { fin: true });
  peer.ping(key);
  peer.on("message", () => peer.close(4000, `bad key ${key}`));
}
