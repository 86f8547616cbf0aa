// SPDX-License-Identifier: Apache-2.0
/**
 * What does generativelanguage.googleapis.com answer? Content, streams in both framings, token counts,
 * embeddings, models, and its OpenAI-compatible endpoint, which alone takes a Bearer key.
 */
import {
  ANSWER_PIECES,
  ANSWER_TEXT,
  countTokens,
  dataEvent,
  newStandInId,
  sendEvents,
  sendJson,
} from "./answer.ts";
import { answerChat, type ChatRequest } from "./openai.ts";
import {
  startTlsStandIn,
  type Exchange,
  type Provider,
  type StandIn,
  type StandInOptions,
} from "./tls-stand-in.ts";

export const GEMINI_MODELS = ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-embedding-001"] as const;

export const startGeminiStandIn = (options: StandInOptions): Promise<StandIn> =>
  startTlsStandIn(gemini, options);

const gemini: Provider = {
  name: "gemini",
  hosts: ["generativelanguage.googleapis.com"],
  answer: answerGemini,
  fail: (exchange, status) => sendError(exchange, status === 529 ? 503 : status, FAILURES[status]),
  refuseCredential,
  endlessEvent: (index) => dataEvent(contentChunk({}, `tick ${index} `, "stand-in-endless")) + "\r\n\r\n",
};

const FAILURES = {
  429: { status: "RESOURCE_EXHAUSTED", message: "You exceeded your current quota." },
  500: { status: "INTERNAL", message: "An internal error has occurred." },
  529: { status: "UNAVAILABLE", message: "The model is overloaded. Please try again later." },
};

const HEADERS = { vary: "Origin, X-Origin, Referer", "server-timing": "gfet4t7; dur=42" };

function sendError(
  exchange: Exchange,
  code: number,
  error: { status: string; message: string; details?: unknown[] },
): void {
  const body = { error: { code, message: error.message, status: error.status, details: error.details } };
  sendJson(exchange, code, body, HEADERS);
}

function refuseCredential(exchange: Exchange): boolean {
  const { request, url, key } = exchange;
  const [first, ...others] = request.credentials;
  if (first === undefined) {
    const message = "Method doesn't allow unregistered callers. Use an API key or other form of identity.";
    sendError(exchange, 403, { status: "PERMISSION_DENIED", message });
    return true;
  }
  if (others.length > 0) {
    sendError(exchange, 400, { status: "INVALID_ARGUMENT", message: "Multiple credentials were sent." });
    return true;
  }
  const carriers = url.pathname.includes("/openai/") ? ["bearer"] : ["x-goog-api-key", "query"];
  if (carriers.includes(first.carrier) && first.value === key) return false;
  sendError(exchange, 400, {
    status: "INVALID_ARGUMENT",
    message: "API key not valid. Please pass a valid API key.",
    details: [
      {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        reason: "API_KEY_INVALID",
        domain: "googleapis.com",
        metadata: { service: "generativelanguage.googleapis.com" },
      },
    ],
  });
  return true;
}

interface GenerateRequest {
  readonly contents?: unknown;
  readonly tools?: readonly { readonly functionDeclarations?: readonly { readonly name?: string }[] }[];
}

const MODEL_ROUTE = /^\/(?:v1|v1beta)\/models\/([A-Za-z0-9._-]+):([A-Za-z]+)$/;

function answerGemini(exchange: Exchange): Promise<void> | void {
  const { request, url } = exchange;
  if (request.method === "GET" && /^\/v1(beta)?\/models$/.test(url.pathname)) {
    return sendJson(exchange, 200, modelList(), HEADERS);
  }
  if (request.method === "POST" && url.pathname === "/v1beta/openai/chat/completions") {
    return answerChat(exchange, request.json as ChatRequest, HEADERS);
  }
  const [, model, method] = MODEL_ROUTE.exec(url.pathname) ?? [];
  const answer = request.method === "POST" ? METHODS[method ?? ""] : undefined;
  if (answer === undefined) return sendError(exchange, 404, { status: "NOT_FOUND", message: "Not found" });
  return answer(exchange, request.json ?? {}, model!);
}

const METHODS: Record<
  string,
  (exchange: Exchange, body: GenerateRequest, model: string) => Promise<void> | void
> = {
  generateContent: (exchange, body, model) => sendJson(exchange, 200, contentWhole(body, model), HEADERS),
  streamGenerateContent: streamContent,
  countTokens: (exchange, body) => {
    const totalTokens = countTokens(body.contents);
    const promptTokensDetails = [{ modality: "TEXT", tokenCount: totalTokens }];
    sendJson(exchange, 200, { totalTokens, promptTokensDetails }, HEADERS);
  },
  embedContent: (exchange) => sendJson(exchange, 200, { embedding: { values: [0, 0.25, 0.5] } }, HEADERS),
  batchEmbedContents: (exchange) =>
    sendJson(exchange, 200, { embeddings: [{ values: [0, 0.25, 0.5] }] }, HEADERS),
};

function usageMetadata(body: GenerateRequest) {
  const prompt = countTokens(body.contents);
  return {
    promptTokenCount: prompt,
    candidatesTokenCount: ANSWER_PIECES.length,
    totalTokenCount: prompt + ANSWER_PIECES.length,
    promptTokensDetails: [{ modality: "TEXT", tokenCount: prompt }],
  };
}

const firstTool = (body: GenerateRequest) => body.tools?.[0]?.functionDeclarations?.[0]?.name;

function contentWhole(body: GenerateRequest, model: string) {
  const tool = firstTool(body);
  const part = tool === undefined ? { text: ANSWER_TEXT } : { functionCall: { name: tool, args: {} } };
  return {
    candidates: [{ content: { parts: [part], role: "model" }, finishReason: "STOP", index: 0 }],
    usageMetadata: usageMetadata(body),
    modelVersion: model,
    responseId: newStandInId("", 22),
  };
}

function contentChunk(body: GenerateRequest, text: string, model: string, finishReason?: string) {
  return {
    candidates: [
      { content: { parts: [{ text }], role: "model" }, index: 0, ...(finishReason && { finishReason }) },
    ],
    usageMetadata: usageMetadata(body),
    modelVersion: model,
    responseId: "stand-in-response",
  };
}

/** Function calls come whole, in one chunk; every chunk carries usage and the last one counts. */
function contentChunks(body: GenerateRequest, model: string): unknown[] {
  if (firstTool(body) !== undefined) return [contentWhole(body, model)];
  return ANSWER_PIECES.map((text, index) =>
    contentChunk(body, text, model, index === ANSWER_PIECES.length - 1 ? "STOP" : undefined),
  );
}

async function streamContent(exchange: Exchange, body: GenerateRequest, model: string): Promise<void> {
  const chunks = contentChunks(body, model);
  if (exchange.url.searchParams.get("alt") === "sse") {
    return sendEvents(exchange, chunks.map(dataEvent), HEADERS, "\r\n\r\n");
  }
  const { response } = exchange;
  const stream = exchange.trackStream();
  response.writeHead(200, { "content-type": "application/json; charset=UTF-8", ...HEADERS });
  for (const [index, chunk] of chunks.entries()) {
    const text = (index === 0 ? "[" : ",\r\n") + JSON.stringify(chunk, null, 2);
    await new Promise<void>((resolve) => response.write(text, () => resolve()));
    stream.events++;
  }
  response.end("\n]\n");
}

const modelList = () => ({
  models: GEMINI_MODELS.map((name) => ({
    name: `models/${name}`,
    version: "001",
    displayName: name,
    inputTokenLimit: 1_048_576,
    outputTokenLimit: 65_536,
    supportedGenerationMethods: ["generateContent", "countTokens"],
  })),
});
