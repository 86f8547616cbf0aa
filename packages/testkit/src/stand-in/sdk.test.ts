// SPDX-License-Identifier: Apache-2.0
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import OpenAI from "openai";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startStandIns, type StandIns } from "../start-stand-ins.ts";
import { ANSWER_TEXT } from "./answer.ts";
import { hostileModel } from "./misbehaviour.ts";

let standIns: StandIns;
let key: (name: string) => string;
const messages = [{ role: "user" as const, content: "hello" }];
const base = (port: number) => `https://127.0.0.1:${port}`;

beforeAll(async () => {
  standIns = await startStandIns({ endlessInterval: 5 });
  key = (name) => standIns.secrets[name]!;
  setDefaultCACertificates([...getCACertificates("default"), standIns.authority.certificate]);
});
afterAll(() => standIns.close());
beforeEach(() => {
  for (const standIn of [standIns.openai, standIns.anthropic, standIns.gemini]) standIn.forgetRequests();
});

describe("the OpenAI stand-in and the real SDK", () => {
  const client = (apiKey = key("openai-key")) =>
    new OpenAI({ apiKey, baseURL: `${base(standIns.openai.port)}/v1`, maxRetries: 0 });

  it("refuses a wrong key with the provider's error and records the request", async () => {
    await expect(
      client("sk-wrong-key-000000").chat.completions.create({ model: "gpt-4o", messages }),
    ).rejects.toMatchObject({
      status: 401,
      code: "invalid_api_key",
    });
    expect(standIns.openai.requests.map((request) => request.target)).toEqual(["/v1/chat/completions"]);
    expect(standIns.openai.requests[0]!.credentials).toEqual([
      { carrier: "bearer", value: "sk-wrong-key-000000" },
    ]);
  });

  it("refuses a right key beside a second credential", async () => {
    const doubled = client().models.list({ headers: { "x-api-key": "placeholder" } });
    await expect(doubled).rejects.toMatchObject({ status: 400, code: "duplicate_credential" });
  });

  it("completes a chat", async () => {
    const answer = await client().chat.completions.create({ model: "gpt-4o-mini", messages });
    expect(answer.choices[0]!.message.content).toBe(ANSWER_TEXT);
    expect(answer.usage!.completion_tokens).toBe(5);
  });

  it("streams usage only where it was asked for", async () => {
    const usages = async (include_usage: boolean) => {
      const stream_options = { include_usage };
      const stream = await client().chat.completions.create({
        model: "gpt-4o-mini",
        messages,
        stream: true,
        stream_options,
      });
      let text = "";
      let usage;
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? "";
        usage = chunk.usage ?? usage;
      }
      expect(text).toBe(ANSWER_TEXT);
      return usage?.completion_tokens;
    };
    expect(await usages(true)).toBe(5);
    expect(await usages(false)).toBeUndefined();
  });

  it("calls the first tool, whole and streamed", async () => {
    const tools = [{ type: "function" as const, function: { name: "get_weather", parameters: {} } }];
    const answer = await client().chat.completions.create({ model: "gpt-4o", messages, tools });
    expect(answer.choices[0]!.message.tool_calls).toMatchObject([{ function: { name: "get_weather" } }]);
    const stream = client().chat.completions.stream({ model: "gpt-4o", messages, tools });
    const final = await stream.finalChatCompletion();
    expect(final.choices[0]!.message.tool_calls).toMatchObject([
      { function: { name: "get_weather", arguments: "{}" } },
    ]);
  });

  it("answers the Responses API, whole and as events in order", async () => {
    const whole = await client().responses.create({ model: "gpt-4o", input: "hello" });
    expect(whole.output_text).toBe(ANSWER_TEXT);
    const types: string[] = [];
    for await (const event of await client().responses.create({
      model: "gpt-4o",
      input: "hello",
      stream: true,
    })) {
      types.push(event.type);
      if (event.type === "response.completed") expect(event.response.usage!.output_tokens).toBe(5);
    }
    expect([...new Set(types)]).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ]);
  });

  it("lists models and embeds", async () => {
    expect((await client().models.list()).data.map(({ id }) => id)).toContain("gpt-4o");
    const embedding = await client().embeddings.create({ model: "text-embedding-3-small", input: "x" });
    expect(embedding.data[0]!.embedding).toHaveLength(8);
  });

  it("streams without end until the client goes away, and notices", async () => {
    const stream = await client().chat.completions.create({
      model: hostileModel("endless"),
      messages,
      stream: true,
    });
    let seen = 0;
    for await (const _ of stream) {
      if (seen === 0) expect(standIns.openai.openStreams).toBe(1);
      if (++seen === 3) break;
    }
    await expect.poll(() => standIns.openai.openStreams).toBe(0);
    expect(standIns.openai.streams.at(-1)!.abortedAt).toBeTypeOf("number");
  });

  it("fails with the provider's rate-limit error", async () => {
    const model = hostileModel("error-429");
    await expect(client().chat.completions.create({ model, messages })).rejects.toMatchObject({
      status: 429,
      code: "rate_limit_exceeded",
    });
  });
});

describe("the Anthropic stand-in and the real SDK", () => {
  const request = { model: "claude-sonnet-5", max_tokens: 100, messages };
  // The SDK sends API keys as Bearer, which is what the gateway has to mend.
  const client = () =>
    new Anthropic({
      apiKey: null,
      authToken: null,
      defaultHeaders: { "x-api-key": key("anthropic-key"), authorization: null },
      baseURL: base(standIns.anthropic.port),
      maxRetries: 0,
    });

  it("refuses an API key that comes as Bearer, which is how the SDK sends it", async () => {
    const plain = new Anthropic({
      apiKey: key("anthropic-key"),
      baseURL: base(standIns.anthropic.port),
      maxRetries: 0,
    });
    await expect(plain.messages.create(request)).rejects.toMatchObject({
      status: 401,
      error: { error: { type: "authentication_error" } },
    });
  });

  it("accepts an OAuth token with the beta header, and not without", async () => {
    const token = "sk-ant-oat01-0123456789";
    standIns.anthropic.setKey(token);
    try {
      const oauth = (headers: Record<string, string>) =>
        new Anthropic({
          authToken: token,
          baseURL: base(standIns.anthropic.port),
          defaultHeaders: headers,
          maxRetries: 0,
        });
      await expect(oauth({}).messages.create(request)).rejects.toMatchObject({ status: 401 });
      const answer = await oauth({ "anthropic-beta": "oauth-2025-04-20" }).messages.create(request);
      expect(answer.stop_reason).toBe("end_turn");
    } finally {
      standIns.anthropic.setKey(key("anthropic-key"));
    }
  });

  it("answers messages, token counts and models", async () => {
    const answer = await client().messages.create(request);
    expect(answer.content).toMatchObject([{ type: "text", text: ANSWER_TEXT }]);
    expect((await client().messages.countTokens(request)).input_tokens).toBeGreaterThan(0);
    expect((await client().models.list()).data.map(({ id }) => id)).toContain("claude-sonnet-5");
  });

  it("streams text and tool calls with cumulative usage", async () => {
    const text = await client().messages.stream(request).finalMessage();
    expect(text.content).toMatchObject([{ type: "text", text: ANSWER_TEXT }]);
    expect(text.usage.output_tokens).toBe(5);
    const tools = [{ name: "get_weather", input_schema: { type: "object" as const } }];
    const call = await client()
      .messages.stream({ ...request, tools })
      .finalMessage();
    expect(call.content).toMatchObject([{ type: "tool_use", name: "get_weather", input: {} }]);
    expect(call.stop_reason).toBe("tool_use");
  });

  it("is overloaded with status 529", async () => {
    const overloaded = client().messages.create({ ...request, model: hostileModel("error-529") });
    await expect(overloaded).rejects.toMatchObject({
      status: 529,
      error: { error: { type: "overloaded_error" } },
    });
  });
});

describe("the Gemini stand-in and the real SDK", () => {
  const client = (apiKey = key("gemini-key")) =>
    new GoogleGenAI({ apiKey, httpOptions: { baseUrl: base(standIns.gemini.port) } });
  const request = { model: "gemini-2.5-flash", contents: "hello" };

  it("refuses a wrong key with the provider's error", async () => {
    const refused = client("AIzaWrong").models.generateContent(request);
    await expect(refused).rejects.toThrow(/API_KEY_INVALID/);
  });

  it("generates content and counts tokens", async () => {
    const answer = await client().models.generateContent(request);
    expect(answer.text).toBe(ANSWER_TEXT);
    expect(answer.usageMetadata!.candidatesTokenCount).toBe(5);
    expect((await client().models.countTokens(request)).totalTokens).toBeGreaterThan(0);
  });

  it("streams content as events and as a JSON array", async () => {
    let text = "";
    for await (const chunk of await client().models.generateContentStream(request)) text += chunk.text ?? "";
    expect(text).toBe(ANSWER_TEXT);
    const url = `${base(standIns.gemini.port)}/v1beta/models/gemini-2.5-flash:streamGenerateContent?key=${key("gemini-key")}`;
    const answer = await fetch(url, { method: "POST", body: JSON.stringify({ contents: [] }) });
    expect(await answer.json()).toHaveLength(5);
  });

  it("calls the first tool", async () => {
    const tools = [{ functionDeclarations: [{ name: "get_weather" }] }];
    const answer = await client().models.generateContent({ ...request, config: { tools } });
    expect(answer.functionCalls).toMatchObject([{ name: "get_weather" }]);
  });

  it("takes Bearer on the OpenAI-compatible endpoint only", async () => {
    const openai = new OpenAI({
      apiKey: key("gemini-key"),
      baseURL: `${base(standIns.gemini.port)}/v1beta/openai`,
      maxRetries: 0,
    });
    const answer = await openai.chat.completions.create({ model: "gemini-2.5-flash", messages });
    expect(answer.choices[0]!.message.content).toBe(ANSWER_TEXT);
    const headers = { authorization: `Bearer ${key("gemini-key")}` };
    const refused = await fetch(`${base(standIns.gemini.port)}/v1beta/models`, { headers });
    expect(refused.status).toBe(400);
  });
});
