// SPDX-License-Identifier: Apache-2.0
/**
 * What does api.anthropic.com answer? Messages, token counts and models, with its errors.
 *
 * Stricter than the real service: an API key is accepted in `x-api-key` only, and `Authorization: Bearer`
 * is for OAuth access tokens (`sk-ant-oat…`) with their beta header. The npm SDK sends API keys as Bearer;
 * a gateway that merely swaps the value in the client's header fails here.
 */
import {
  ANSWER_PIECES,
  ANSWER_TEXT,
  countTokens,
  namedEvent,
  newStandInId,
  sendEvents,
  sendJson,
} from "./answer.ts";
import {
  startTlsStandIn,
  type Exchange,
  type Provider,
  type StandIn,
  type StandInOptions,
} from "./tls-stand-in.ts";

export const ANTHROPIC_MODELS = ["claude-sonnet-5", "claude-haiku-5-5", "claude-opus-5-5"] as const;

export const startAnthropicStandIn = (options: StandInOptions): Promise<StandIn> =>
  startTlsStandIn(anthropic, options);

const anthropic: Provider = {
  name: "anthropic",
  hosts: ["api.anthropic.com"],
  answer: answerAnthropic,
  fail: (exchange, status) => sendError(exchange, status, FAILURES[status], "stand-in failure"),
  refuseCredential,
  endlessEvent,
};

const FAILURES = { 429: "rate_limit_error", 500: "api_error", 529: "overloaded_error" } as const;

const headersFor = (requestId: string) => ({
  "request-id": requestId,
  "anthropic-organization-id": "00000000-0000-4000-8000-000000000001",
  "anthropic-ratelimit-requests-limit": "4000",
  "anthropic-ratelimit-requests-remaining": "3999",
  "anthropic-ratelimit-requests-reset": new Date(Date.now() + 1000).toISOString(),
  "anthropic-ratelimit-tokens-limit": "400000",
  "anthropic-ratelimit-tokens-remaining": "399000",
});

function sendError(exchange: Exchange, status: number, type: string, message: string): void {
  const requestId = newStandInId("req_011");
  const retry: Record<string, string> = status === 429 ? { "retry-after": "1" } : {};
  const body = { type: "error", error: { type, message }, request_id: requestId };
  sendJson(exchange, status, body, { ...headersFor(requestId), ...retry });
}

function refuseCredential(exchange: Exchange): boolean {
  const { request, key } = exchange;
  const [first, ...others] = request.credentials;
  const refused = (message: string) => {
    sendError(exchange, 401, "authentication_error", message);
    return true;
  };
  if (first === undefined) return refused("x-api-key header is required");
  if (others.length > 0) {
    sendError(exchange, 400, "invalid_request_error", "more than one credential was sent");
    return true;
  }
  if (first.carrier === "x-api-key") return first.value === key ? false : refused("invalid x-api-key");
  const beta = String(request.headers["anthropic-beta"] ?? "").split(/\s*,\s*/);
  const isOauth =
    first.carrier === "bearer" && key.startsWith("sk-ant-oat") && beta.includes("oauth-2025-04-20");
  return isOauth && first.value === key ? false : refused("invalid bearer token");
}

interface MessagesRequest {
  readonly model?: unknown;
  readonly max_tokens?: unknown;
  readonly messages?: unknown;
  readonly stream?: boolean;
  readonly tools?: readonly { readonly name?: string }[];
}

function answerAnthropic(exchange: Exchange): Promise<void> | void {
  const { request, url } = exchange;
  const route = `${request.method} ${url.pathname}`;
  const headers = headersFor(newStandInId("req_011"));
  if (request.headers["anthropic-version"] === undefined) {
    return sendError(exchange, 400, "invalid_request_error", "anthropic-version: header is required");
  }
  if (route === "GET /v1/models") return sendJson(exchange, 200, modelList(), headers);
  const body = (request.json ?? {}) as MessagesRequest;
  if (route === "POST /v1/messages/count_tokens") {
    return sendJson(exchange, 200, { input_tokens: countTokens(body.messages) }, headers);
  }
  if (route === "POST /v1/messages") {
    if (typeof body.model !== "string") {
      return sendError(exchange, 400, "invalid_request_error", "model: Field required");
    }
    if (body.stream === true) return sendEvents(exchange, messageEvents(body), headers);
    return sendJson(exchange, 200, wholeMessage(body), headers);
  }
  sendError(exchange, 404, "not_found_error", "Not found");
}

const usage = (body: MessagesRequest, outputTokens: number) => ({
  input_tokens: countTokens(body.messages),
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: 0,
  output_tokens: outputTokens,
  service_tier: "standard",
});

const toolUse = (name: string) => ({ type: "tool_use", id: newStandInId("toolu_01"), name, input: {} });

function messageShell(body: MessagesRequest) {
  return {
    id: newStandInId("msg_01"),
    type: "message",
    role: "assistant",
    model: body.model,
    content: [] as unknown[],
    stop_reason: null as string | null,
    stop_sequence: null,
    usage: usage(body, 1),
  };
}

function wholeMessage(body: MessagesRequest) {
  const tool = body.tools?.[0]?.name;
  return {
    ...messageShell(body),
    content: [tool === undefined ? { type: "text", text: ANSWER_TEXT } : toolUse(tool)],
    stop_reason: tool === undefined ? "end_turn" : "tool_use",
    usage: usage(body, ANSWER_PIECES.length),
  };
}

/** `message_delta` carries the sum of output tokens so far, not an increment. */
function* messageEvents(body: MessagesRequest): Iterable<string> {
  const tool = body.tools?.[0]?.name;
  const event = (type: string, data: object = {}) => namedEvent(type, { type, ...data });
  yield event("message_start", { message: messageShell(body) });
  const block = tool === undefined ? { type: "text", text: "" } : toolUse(tool);
  yield event("content_block_start", { index: 0, content_block: block });
  yield event("ping");
  const deltas =
    tool === undefined
      ? ANSWER_PIECES.map((text) => ({ type: "text_delta", text }))
      : ["", "{", "}"].map((piece) => ({ type: "input_json_delta", partial_json: piece }));
  for (const delta of deltas) yield event("content_block_delta", { index: 0, delta });
  yield event("content_block_stop", { index: 0 });
  yield event("message_delta", {
    delta: { stop_reason: tool === undefined ? "end_turn" : "tool_use", stop_sequence: null },
    usage: { output_tokens: ANSWER_PIECES.length },
  });
  yield event("message_stop");
}

/** The start of a message first, then deltas for ever, so that the real SDKs accept it. */
function endlessEvent(index: number): string {
  const event = (type: string, data: object) => namedEvent(type, { type, ...data }) + "\n\n";
  const delta = { index: 0, delta: { type: "text_delta", text: `tick ${index} ` } };
  if (index > 0) return event("content_block_delta", delta);
  const message = messageShell({ model: "stand-in-endless" });
  return (
    event("message_start", { message }) +
    event("content_block_start", { index: 0, content_block: { type: "text", text: "" } }) +
    event("content_block_delta", delta)
  );
}

const modelList = () => ({
  data: ANTHROPIC_MODELS.map((id) => ({
    type: "model",
    id,
    display_name: id,
    created_at: "2025-09-29T00:00:00Z",
  })),
  has_more: false,
  first_id: ANTHROPIC_MODELS[0],
  last_id: ANTHROPIC_MODELS.at(-1),
});
