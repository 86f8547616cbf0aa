// SPDX-License-Identifier: Apache-2.0
import { anthropic } from "@ai-sdk/anthropic";
import { generateText, streamText } from "ai";
import { joined, QUESTION, reportCalls } from "./report-calls.mjs";

const request = { model: anthropic("claude-haiku-5-5"), prompt: QUESTION, maxRetries: 0 };

await reportCalls({
  plain: async () => (await generateText(request)).text,
  stream: async () => joined(streamText(request).textStream),
});
