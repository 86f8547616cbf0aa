// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { loadProfiles } from "../profiles/profile.ts";
import { UsageMeter } from "./usage-meter.ts";

const profiles = loadProfiles();

function usage(profile: string, contentType: string, text: string, size = Number.POSITIVE_INFINITY) {
  const meter = new UsageMeter(profiles.get(profile)!, contentType);
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) meter.feed(bytes.subarray(at, at + size));
  return meter.finish();
}

const sse = (...events: unknown[]): string =>
  events.map((event) => `event: x\ndata: ${JSON.stringify(event)}\n\n`).join("");

describe("usage that an answer reports", () => {
  it.each([
    [
      "openai",
      "chat",
      { usage: { prompt_tokens: 3, completion_tokens: 4 } },
      { inputTokens: 3, outputTokens: 4 },
    ],
    [
      "openai",
      "responses",
      { usage: { input_tokens: 3, output_tokens: 4 } },
      { inputTokens: 3, outputTokens: 4 },
    ],
    [
      "anthropic",
      "messages",
      {
        usage: {
          input_tokens: 1,
          output_tokens: 2,
          cache_read_input_tokens: 3,
          cache_creation_input_tokens: 4,
        },
      },
      { inputTokens: 1, outputTokens: 2, cacheReadTokens: 3, cacheWriteTokens: 4 },
    ],
    [
      "gemini",
      "generateContent",
      { usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 2, thoughtsTokenCount: 3 } },
      { inputTokens: 1, outputTokens: 2, thoughtTokens: 3 },
    ],
    [
      "gemini",
      "its OpenAI form",
      { usage: { prompt_tokens: 1, completion_tokens: 2 } },
      { inputTokens: 1, outputTokens: 2 },
    ],
  ])("is read from %s: %s", (profile, _name, body, expected) => {
    for (const type of ["application/json", "application/json; charset=utf-8"])
      expect(usage(profile, type, JSON.stringify(body, null, 1), 7)).toEqual(expected);
  });

  it.each([1, 5, 1000])("is read from OpenAI's streams, in pieces of %i bytes", (size) => {
    const chat =
      sse({ choices: [], usage: null }, { choices: [], usage: { prompt_tokens: 3, completion_tokens: 4 } }) +
      "data: [DONE]\n\n";
    expect(usage("openai", "text/event-stream", chat, size)).toEqual({ inputTokens: 3, outputTokens: 4 });
    const responses = sse({
      type: "response.completed",
      response: { usage: { input_tokens: 3, output_tokens: 4 } },
    });
    expect(usage("openai", "text/event-stream", responses, size)).toEqual({
      inputTokens: 3,
      outputTokens: 4,
    });
  });

  it("counts Anthropic's running totals once", () => {
    const stream = sse(
      { type: "message_start", message: { usage: { input_tokens: 25, output_tokens: 1 } } },
      { type: "message_delta", usage: { output_tokens: 9 } },
      { type: "message_delta", usage: { output_tokens: 15 } },
    );
    expect(usage("anthropic", "text/event-stream; charset=utf-8", stream)).toEqual({
      inputTokens: 25,
      outputTokens: 15,
    });
  });

  it("takes Gemini's last totals, from events and from an array", () => {
    const parts = [1, 5, 9].map((count) => ({
      usageMetadata: { promptTokenCount: 2, candidatesTokenCount: count },
    }));
    expect(usage("gemini", "text/event-stream", sse(...parts).replaceAll("\n", "\r\n"))).toEqual({
      inputTokens: 2,
      outputTokens: 9,
    });
    expect(usage("gemini", "application/json", JSON.stringify(parts))).toEqual({
      inputTokens: 2,
      outputTokens: 9,
    });
  });

  it("is read from a last event without a line end", () => {
    expect(usage("openai", "text/event-stream", 'data: {"usage":{"prompt_tokens":3}}')).toEqual({
      inputTokens: 3,
    });
  });
});

describe("a hostile answer", () => {
  it.each([
    ["a negative number", '{"usage":{"prompt_tokens":-5}}'],
    ["a fraction", '{"usage":{"prompt_tokens":1.5}}'],
    ["a number beyond all", '{"usage":{"prompt_tokens":1e300}}'],
    ["a number as text", '{"usage":{"prompt_tokens":"5"}}'],
    ["a list", '{"usage":{"prompt_tokens":[5]}}'],
    ["another shape", '{"usage":[1,2]}'],
    ["broken JSON", '{"usage":{"prompt_tokens":5'],
    ["nothing", ""],
    ["depth", `${"[".repeat(100_000)}${"]".repeat(100_000)}`],
    ["an inherited member", '{"__proto__":{"usage":{"prompt_tokens":5}}}'],
  ])("with %s reports nothing", (_name, text) => {
    expect(usage("openai", "application/json", text)).toBe(undefined);
    expect(usage("openai", "text/event-stream", `data: ${text}\n\n`)).toBe(undefined);
  });

  it("does not undo what an event before it reported", () => {
    const stream =
      sse({ usage: { prompt_tokens: 3 } }, { usage: { prompt_tokens: -9 } }) + 'data: {"usage": broken\n\n';
    expect(usage("openai", "text/event-stream", stream)).toEqual({ inputTokens: 3 });
  });

  it("with one huge event is not kept in memory, and what follows is read", () => {
    const meter = new UsageMeter(profiles.get("openai")!, "text/event-stream");
    meter.feed(Buffer.from("data: "));
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 100; i++) meter.feed(Buffer.alloc(1024 * 1024, "x"));
    globalThis.gc?.();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(120 * 1024 * 1024);
    meter.feed(Buffer.from(`\n\n${sse({ usage: { prompt_tokens: 7 } })}`));
    expect(meter.finish()).toEqual({ inputTokens: 7 });
  });

  it("with one huge event has nothing read from the end of it, wherever it was cut", () => {
    const meter = new UsageMeter(profiles.get("openai")!, "text/event-stream");
    meter.feed(Buffer.from(`data: ${"x".repeat(300_000)}`));
    meter.feed(Buffer.from(sse({ usage: { prompt_tokens: 7 } }).slice("event: x\n".length)));
    expect(meter.finish()).toBeUndefined();
  });

  it("with a huge JSON body reports nothing", () => {
    const body = JSON.stringify({ pad: "x".repeat(1_100_000), usage: { prompt_tokens: 5 } });
    expect(usage("openai", "application/json", body, 65_536)).toBe(undefined);
  });

  it("of another type is not read at all", () => {
    expect(usage("openai", "text/html", '{"usage":{"prompt_tokens":5}}')).toBe(undefined);
    expect(usage("openai", "", '{"usage":{"prompt_tokens":5}}')).toBe(undefined);
  });
});
