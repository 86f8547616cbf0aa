// SPDX-License-Identifier: Apache-2.0
/**
 * An agent that keeps one stream open for as long as it is let, then asks once more.
 *
 * Runs inside `postern run`; prints a line for each piece that arrives, how the stream ended, and what the
 * next request got.
 */
import { inspect } from "node:util";
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const print = (line: object) => console.log(JSON.stringify({ ...line, at: Date.now() }));
const messages = [{ role: "user" as const, content: "talk" }];

try {
  const stream = await client.chat.completions.create({ model: "stand-in-endless", messages, stream: true });
  let tick = 0;
  for await (const _ of stream) print({ event: "tick", tick: tick++ });
  print({ event: "ended", how: "closed" });
} catch (error) {
  print({ event: "ended", how: inspect(error, { depth: 2 }) });
}

try {
  await client.chat.completions.create({ model: "gpt-4o-mini", messages });
  print({ event: "next", status: 200 });
} catch (error) {
  const { status, message } = error as { status?: number; message: string };
  print({ event: "next", status: status ?? 0, message });
}
