// SPDX-License-Identifier: Apache-2.0
import OpenAI from "openai";
import { joined, messages, QUESTION, reportCalls } from "./report-calls.mjs";

const client = new OpenAI();
const model = "gpt-4o-mini";

await reportCalls({
  plain: async () => (await client.chat.completions.create({ model, messages })).choices[0].message.content,
  stream: async () =>
    joined(
      await client.chat.completions.create({ model, messages, stream: true }),
      (chunk) => chunk.choices[0]?.delta.content,
    ),
  "responses plain": async () => (await client.responses.create({ model, input: QUESTION })).output_text,
  "responses stream": async () =>
    joined(await client.responses.create({ model, input: QUESTION, stream: true }), (event) =>
      event.type === "response.output_text.delta" ? event.delta : "",
    ),
});
