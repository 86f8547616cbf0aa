// SPDX-License-Identifier: Apache-2.0
/**
 * An agent that asks OpenAI's API what its words say, one after the other: `MODEL:MAX_TOKENS`.
 *
 * Runs inside `postern run`; prints a line before each request and one with what it got.
 */
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const print = (line: object) => console.log(JSON.stringify(line));
const messages = [{ role: "user" as const, content: "Say hello." }];

for (const word of process.argv.slice(2)) {
  const [model = "", tokens] = word.split(":");
  print({ event: "asking", word });
  try {
    await client.chat.completions.create({ model, messages, max_tokens: Number(tokens) });
    print({ event: "answer", word, status: 200 });
  } catch (error) {
    const { status, code } = error as { status?: number; code?: string };
    print({ event: "answer", word, status: status ?? 0, code });
  }
}
