// SPDX-License-Identifier: Apache-2.0
/**
 * An honest agent: one plain and one streamed call with each unmodified SDK, everything from the environment.
 *
 * Runs inside `postern run`. With the base URLs that the launcher sets it talks to the gateway; without them
 * the SDKs go to the providers' real host names, and through HTTPS_PROXY. One JSON line per call.
 */
import { inspect } from "node:util";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import OpenAI from "openai";

const QUESTION = "Say hello.";
const messages = [{ role: "user" as const, content: QUESTION }];

async function callOpenAi(streamed: boolean): Promise<string> {
  const client = new OpenAI();
  const request = { model: "gpt-4o-mini", messages };
  if (!streamed) return (await client.chat.completions.create(request)).choices[0]?.message.content ?? "";
  let text = "";
  for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
    text += chunk.choices[0]?.delta.content ?? "";
  }
  return text;
}

async function callAnthropic(streamed: boolean): Promise<string> {
  const client = new Anthropic();
  const request = { model: "claude-haiku-5-5", max_tokens: 100, messages };
  const message = streamed
    ? await client.messages.stream(request).finalMessage()
    : await client.messages.create(request);
  const [block] = message.content;
  return block?.type === "text" ? block.text : "";
}

async function callGemini(streamed: boolean): Promise<string> {
  const client = new GoogleGenAI({});
  const request = { model: "gemini-2.5-flash", contents: QUESTION };
  if (!streamed) return (await client.models.generateContent(request)).text ?? "";
  let text = "";
  for await (const chunk of await client.models.generateContentStream(request)) text += chunk.text ?? "";
  return text;
}

const CALLS = { openai: callOpenAi, anthropic: callAnthropic, gemini: callGemini };

for (const [sdk, call] of Object.entries(CALLS)) {
  for (const streamed of [false, true]) {
    const result = await call(streamed).then(
      (text) => ({ ok: text !== "", text }),
      (error: Error) => ({ ok: false, error: inspect(error, { depth: 2 }) }),
    );
    console.log(JSON.stringify({ sdk, call: streamed ? "stream" : "plain", ...result }));
  }
}
