// SPDX-License-Identifier: Apache-2.0
import { ChatOpenAI } from "@langchain/openai";
import { joined, QUESTION, reportCalls } from "./report-calls.mjs";

const chat = new ChatOpenAI({ model: "gpt-4o-mini", maxRetries: 0 });

await reportCalls({
  plain: async () => (await chat.invoke(QUESTION)).text,
  stream: async () => joined(await chat.stream(QUESTION), (chunk) => chunk.text),
});
