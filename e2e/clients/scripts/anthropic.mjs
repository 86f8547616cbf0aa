// SPDX-License-Identifier: Apache-2.0
import Anthropic from "@anthropic-ai/sdk";
import { messages, reportCalls } from "./report-calls.mjs";

const client = new Anthropic();
const request = { model: "claude-haiku-5-5", max_tokens: 100, messages };

await reportCalls({
  plain: async () => (await client.messages.create(request)).content[0].text,
  stream: async () => client.messages.stream(request).finalText(),
});
