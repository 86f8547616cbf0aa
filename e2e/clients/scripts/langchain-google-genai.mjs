// SPDX-License-Identifier: Apache-2.0
import { ChatGoogleGenerativeAI } from "@langchain/google-genai";
import { joined, QUESTION, reportCalls } from "./report-calls.mjs";

const chat = new ChatGoogleGenerativeAI({ model: "gemini-2.5-flash", maxRetries: 0 });

await reportCalls({
  plain: async () => (await chat.invoke(QUESTION)).text,
  stream: async () => joined(await chat.stream(QUESTION), (chunk) => chunk.text),
});
