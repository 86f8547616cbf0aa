// SPDX-License-Identifier: Apache-2.0
import { google } from "@ai-sdk/google";
import { generateText, streamText } from "ai";
import { joined, QUESTION, reportCalls } from "./report-calls.mjs";

const request = { model: google("gemini-2.5-flash"), prompt: QUESTION, maxRetries: 0 };

await reportCalls({
  plain: async () => (await generateText(request)).text,
  stream: async () => joined(streamText(request).textStream),
});
