// SPDX-License-Identifier: Apache-2.0
/** What does api.openai.com answer? Chat completions, responses, models and embeddings, with its errors. */
import {
  ANSWER_PIECES,
  ANSWER_TEXT,
  countTokens,
  dataEvent,
  newStandInId,
  sendEvents,
  sendJson,
} from "./answer.ts";
import { openAiHeaders } from "./openai-headers.ts";
import { converseRealtime } from "./openai-realtime.ts";
import { answerResponses } from "./openai-responses.ts";
import {
  startTlsStandIn,
  type Exchange,
  type Provider,
  type StandIn,
  type StandInOptions,
} from "./tls-stand-in.ts";

export const OPENAI_MODELS = [
  "gpt-4o",
  "gpt-4o-mini",
  "gpt-5",
  "gpt-realtime",
  "text-embedding-3-small",
] as const;

export const startOpenAiStandIn = (options: StandInOptions): Promise<StandIn> =>
  startTlsStandIn(openAi, options);

const openAi: Provider = {
  name: "openai",
  hosts: ["api.openai.com"],
  answer: answerOpenAi,
  fail: (exchange, status) => sendOpenAiError(exchange, status === 529 ? 503 : status, FAILURES[status]),
  refuseCredential,
  converse: (exchange) =>
    exchange.url.pathname === "/v1/realtime" ? (peer) => converseRealtime(peer, exchange) : undefined,
  endlessEvent: (index) =>
    dataEvent(chatChunk("chatcmpl-endless", "stand-in-endless", { content: `tick ${index} ` }, null)) +
    "\n\n",
};

const FAILURES = {
  429: { message: "Rate limit reached for requests", type: "requests", code: "rate_limit_exceeded" },
  500: { message: "The server had an error while processing your request", type: "server_error", code: null },
  529: { message: "That model is currently overloaded", type: "server_error", code: "overloaded" },
};

export function sendOpenAiError(
  exchange: Exchange,
  status: number,
  error: { message: string; type: string; code: string | null; param?: string | null },
): void {
  const retry: Record<string, string> = status === 429 ? { "retry-after": "1" } : {};
  sendJson(exchange, status, { error: { param: null, ...error } }, { ...openAiHeaders(), ...retry });
}

function refuseCredential(exchange: Exchange): boolean {
  const [first, ...others] = exchange.request.credentials;
  if (first === undefined) {
    const message = "You didn't provide an API key. Use an Authorization header with Bearer auth.";
    sendOpenAiError(exchange, 401, { message, type: "invalid_request_error", code: null });
    return true;
  }
  if (others.length > 0) {
    const message = "More than one credential was sent.";
    sendOpenAiError(exchange, 400, { message, type: "invalid_request_error", code: "duplicate_credential" });
    return true;
  }
  if (["bearer", "subprotocol"].includes(first.carrier) && first.value === exchange.key) return false;
  // The real API shows the ends of the wrong key in this sentence.
  const shown = `${first.value.slice(0, 8)}${"*".repeat(8)}${first.value.slice(-4)}`;
  const message = `Incorrect API key provided: ${shown}.`;
  sendOpenAiError(exchange, 401, { message, type: "invalid_request_error", code: "invalid_api_key" });
  return true;
}

function answerOpenAi(exchange: Exchange): Promise<void> | void {
  const { request, url } = exchange;
  const route = `${request.method} ${url.pathname}`;
  const body = request.json as ChatRequest | undefined;
  if (route === "GET /v1/models") return sendJson(exchange, 200, modelList(), openAiHeaders());
  if (request.method === "POST" && (typeof body !== "object" || typeof body?.model !== "string")) {
    return sendOpenAiError(exchange, 400, {
      message: "you must provide a model parameter",
      type: "invalid_request_error",
      code: null,
    });
  }
  if (route === "POST /v1/chat/completions") return answerChat(exchange, body!);
  if (route === "POST /v1/responses") return answerResponses(exchange, body as never);
  if (route === "POST /v1/embeddings") return sendJson(exchange, 200, embedding(body!), openAiHeaders());
  sendOpenAiError(exchange, 404, {
    message: `Invalid URL (${route})`,
    type: "invalid_request_error",
    code: null,
  });
}

export interface ChatRequest {
  readonly model: string;
  readonly messages?: unknown;
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean };
  readonly tools?: readonly { readonly function?: { readonly name?: string } }[];
  readonly input?: unknown;
}

/** Also serves Gemini's OpenAI-compatible endpoint. */
export function answerChat(
  exchange: Exchange,
  body: ChatRequest,
  headers: Readonly<Record<string, string>> = openAiHeaders(),
): Promise<void> | void {
  const tool = body.tools?.[0]?.function?.name;
  if (body.stream === true) return sendEvents(exchange, chatEvents(body, tool), headers);
  const call = { id: newStandInId("call_"), type: "function", function: { name: tool, arguments: "{}" } };
  const message =
    tool === undefined
      ? { role: "assistant", content: ANSWER_TEXT, refusal: null, annotations: [] }
      : { role: "assistant", content: null, refusal: null, tool_calls: [call] };
  sendJson(
    exchange,
    200,
    {
      id: newStandInId("chatcmpl-", 29),
      object: "chat.completion",
      created: Math.floor(Date.now() / 1000),
      model: body.model,
      choices: [
        { index: 0, message, logprobs: null, finish_reason: tool === undefined ? "stop" : "tool_calls" },
      ],
      usage: chatUsage(body),
      service_tier: "default",
      system_fingerprint: "fp_stand_in",
    },
    headers,
  );
}

function* chatEvents(body: ChatRequest, tool: string | undefined): Iterable<string> {
  const id = newStandInId("chatcmpl-", 29);
  const asked = body.stream_options?.include_usage === true;
  const chunk = (delta: unknown, finish: string | null) =>
    dataEvent({ ...chatChunk(id, body.model, delta, finish), ...(asked ? { usage: null } : {}) });
  yield chunk({ role: "assistant", content: tool === undefined ? "" : null, refusal: null }, null);
  if (tool === undefined) {
    for (const content of ANSWER_PIECES) yield chunk({ content }, null);
  } else {
    const call = { index: 0, id: newStandInId("call_"), type: "function" };
    yield chunk({ tool_calls: [{ ...call, function: { name: tool, arguments: "" } }] }, null);
    for (const piece of ["{", "}"]) {
      yield chunk({ tool_calls: [{ index: 0, function: { arguments: piece } }] }, null);
    }
  }
  yield chunk({}, tool === undefined ? "stop" : "tool_calls");
  // The usage chunk has no choices and comes only where it was asked for.
  if (asked) yield dataEvent({ ...chatChunk(id, body.model, {}, null), choices: [], usage: chatUsage(body) });
  yield "data: [DONE]";
}

const chatChunk = (id: string, model: string, delta: unknown, finish: string | null) => ({
  id,
  object: "chat.completion.chunk",
  created: Math.floor(Date.now() / 1000),
  model,
  service_tier: "default",
  system_fingerprint: "fp_stand_in",
  choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
});

function chatUsage(body: ChatRequest) {
  const prompt = countTokens(body.messages);
  return {
    prompt_tokens: prompt,
    completion_tokens: ANSWER_PIECES.length,
    total_tokens: prompt + ANSWER_PIECES.length,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: 0,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}

const modelList = () => ({
  object: "list",
  data: OPENAI_MODELS.map((id) => ({ id, object: "model", created: 1_715_367_049, owned_by: "system" })),
});

function embedding(body: ChatRequest) {
  const tokens = countTokens(body.input);
  const numbers = Float32Array.from({ length: 8 }, (_, index) => index / 8);
  const base64 = (body as { encoding_format?: string }).encoding_format === "base64";
  return {
    object: "list",
    data: [
      {
        object: "embedding",
        index: 0,
        embedding: base64 ? Buffer.from(numbers.buffer).toString("base64") : [...numbers],
      },
    ],
    model: body.model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  };
}
