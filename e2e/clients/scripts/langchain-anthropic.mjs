// SPDX-License-Identifier: Apache-2.0
import { ChatAnthropic } from "@langchain/anthropic";
import { joined, QUESTION, reportCalls } from "./report-calls.mjs";

const chat = new ChatAnthropic({ model: "claude-haiku-5-5", maxRetries: 0 });

await reportCalls({
  plain: async () => (await chat.invoke(QUESTION)).text,
  stream: async () => joined(await chat.stream(QUESTION), (chunk) => chunk.text),
});
