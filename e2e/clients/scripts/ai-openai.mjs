// SPDX-License-Identifier: Apache-2.0
import { openai } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";
import { joined, QUESTION, reportCalls } from "./report-calls.mjs";

const request = { model: openai("gpt-4o-mini"), prompt: QUESTION, maxRetries: 0 };

await reportCalls({
  plain: async () => (await generateText(request)).text,
  stream: async () => joined(streamText(request).textStream),
});
