// SPDX-License-Identifier: Apache-2.0
/** What does OpenAI's Responses API answer, and in which order do its events come? */
import {
  ANSWER_PIECES,
  ANSWER_TEXT,
  countTokens,
  namedEvent,
  newStandInId,
  sendEvents,
  sendJson,
} from "./answer.ts";
import { openAiHeaders } from "./openai-headers.ts";
import type { Exchange } from "./tls-stand-in.ts";

interface ResponsesRequest {
  readonly model: string;
  readonly input?: unknown;
  readonly stream?: boolean;
  readonly tools?: readonly { readonly type?: string; readonly name?: string }[];
}

export function answerResponses(exchange: Exchange, body: ResponsesRequest): Promise<void> | void {
  const item = outputItem(body);
  const response = responseObject(body);
  if (body.stream === true) return sendEvents(exchange, responseEvents(response, item), openAiHeaders());
  sendJson(exchange, 200, completed(response, item, body), openAiHeaders());
}

function responseObject(body: ResponsesRequest) {
  return {
    id: newStandInId("resp_", 48),
    object: "response",
    created_at: Math.floor(Date.now() / 1000),
    status: "in_progress",
    background: false,
    error: null,
    incomplete_details: null,
    instructions: null,
    max_output_tokens: null,
    metadata: {},
    model: body.model,
    output: [] as unknown[],
    parallel_tool_calls: true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    store: false,
    temperature: 1,
    text: { format: { type: "text" } },
    tool_choice: "auto",
    tools: body.tools ?? [],
    top_p: 1,
    truncation: "disabled",
    usage: null as unknown,
    user: null,
  };
}

type ResponseObject = ReturnType<typeof responseObject>;

function outputItem(body: ResponsesRequest) {
  const tool = body.tools?.find((candidate) => candidate.type === "function")?.name;
  if (tool === undefined) {
    const content = [{ type: "output_text", text: ANSWER_TEXT, annotations: [], logprobs: [] }];
    return { id: newStandInId("msg_", 48), type: "message", status: "completed", role: "assistant", content };
  }
  return {
    id: newStandInId("fc_", 48),
    type: "function_call",
    status: "completed",
    call_id: newStandInId("call_"),
    name: tool,
    arguments: "{}",
  };
}

type OutputItem = ReturnType<typeof outputItem>;

function completed(response: ResponseObject, item: OutputItem, body: ResponsesRequest | ResponseObject) {
  const input = countTokens("input" in body ? body.input : response.id);
  const output = ANSWER_PIECES.length;
  return {
    ...response,
    status: "completed",
    output: [item],
    usage: {
      input_tokens: input,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: output,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: input + output,
    },
  };
}

/** created, in_progress, item added, its content, item done, completed; usage is on the last one only. */
function* responseEvents(response: ResponseObject, item: OutputItem): Iterable<string> {
  let sequence = 0;
  const event = (type: string, data: object) =>
    namedEvent(type, { type, sequence_number: sequence++, ...data });
  yield event("response.created", { response });
  yield event("response.in_progress", { response });
  const started = { ...item, status: "in_progress" };
  if ("content" in item) {
    yield event("response.output_item.added", { output_index: 0, item: { ...started, content: [] } });
    yield* textEvents(event, item.id);
  } else {
    yield event("response.output_item.added", { output_index: 0, item: { ...started, arguments: "" } });
    yield* argumentEvents(event, item.id);
  }
  yield event("response.output_item.done", { output_index: 0, item });
  yield event("response.completed", { response: completed(response, item, response) });
}

type EventMaker = (type: string, data: object) => string;

function* textEvents(event: EventMaker, itemId: string): Iterable<string> {
  const place = { item_id: itemId, output_index: 0, content_index: 0 };
  const part = { type: "output_text", annotations: [], logprobs: [] };
  yield event("response.content_part.added", { ...place, part: { ...part, text: "" } });
  for (const delta of ANSWER_PIECES) {
    yield event("response.output_text.delta", { ...place, delta, logprobs: [] });
  }
  yield event("response.output_text.done", { ...place, text: ANSWER_TEXT, logprobs: [] });
  yield event("response.content_part.done", { ...place, part: { ...part, text: ANSWER_TEXT } });
}

function* argumentEvents(event: EventMaker, itemId: string): Iterable<string> {
  const place = { item_id: itemId, output_index: 0 };
  for (const delta of ["{", "}"]) yield event("response.function_call_arguments.delta", { ...place, delta });
  yield event("response.function_call_arguments.done", { ...place, arguments: "{}" });
}
