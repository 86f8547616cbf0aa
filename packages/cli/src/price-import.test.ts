// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { importPrices } from "./price-import.ts";

const wanted = {
  ...{ provider: "openai", models: [], name: "p", serverWorkloads: ["openai"] },
  ...{ version: "1", date: "2026-11-21", source: "a file" },
};

/** Of one model of this provider, as the list has it. */
function modelOf(entry: object): Record<string, unknown> {
  const text = JSON.stringify({ m: { litellm_provider: "openai", mode: "chat", ...entry } });
  const line = importPrices(text, wanted)
    .yaml.split("\n")
    .find((each) => each.startsWith("    - "));
  return JSON.parse(line!.slice(6)) as Record<string, unknown>;
}

const PLAIN = { input_cost_per_token: 1.5e-7, output_cost_per_token: 6e-7 };

describe("a file of prices", () => {
  it.each([
    ["not JSON", "{", "not JSON"],
    ["a list", "[]", "no object of models"],
    ["nothing of this provider", '{"m":{"litellm_provider":"other"}}', "no price to take"],
    [
      "a negative price",
      '{"m":{"litellm_provider":"openai","mode":"chat","input_cost_per_token":-1,"output_cost_per_token":1}}',
      "m is left out",
    ],
    [
      "a price in words",
      '{"m":{"litellm_provider":"openai","mode":"chat","input_cost_per_token":"0","output_cost_per_token":1}}',
      "m is left out",
    ],
    [
      "a price beyond all",
      '{"m":{"litellm_provider":"openai","mode":"chat","input_cost_per_token":1e300,"output_cost_per_token":1}}',
      "m is left out",
    ],
    [
      "a price that no list may have",
      '{"m":{"litellm_provider":"openai","mode":"chat","input_cost_per_token":5,"output_cost_per_token":1}}',
      "would be refused at models.0.input",
    ],
  ])("that is %s is refused", (_name, text, words) => {
    expect(() => importPrices(text, wanted)).toThrow(words);
  });

  it("cannot smuggle lines into the list by its names", () => {
    const text = JSON.stringify({ 'm"\nspec: {}\n': { litellm_provider: "openai", mode: "chat", ...PLAIN } });
    const { yaml } = importPrices(text, wanted);
    expect(yaml.split("\n").filter((line) => line.startsWith("spec:"))).toHaveLength(1);
  });
});

describe("prices", () => {
  it.each([
    [1.5e-7, 0.15],
    [6e-7, 0.6],
    [0.000002, 2],
    [3.75e-6, 3.75],
    [2.75e-6, 2.75],
    [1e-12, 0.000001],
    [1.1e-12, 0.000002],
    [1e-13, 0.000001],
    [0, 0],
  ])("of %d dollars for a token are %d for a million, exact and never less", (each, million) => {
    expect(modelOf({ ...PLAIN, input_cost_per_token: each })["input"]).toBe(million);
  });

  it("are taken with caches, thoughts and windows, the dearer of two for written caches", () => {
    expect(
      modelOf({
        ...PLAIN,
        ...{ cache_read_input_token_cost: 7.5e-8, cache_creation_input_token_cost: 2e-7 },
        ...{ cache_creation_input_token_cost_above_1hr: 3e-7, output_cost_per_reasoning_token: 7e-7 },
        ...{ max_input_tokens: 128_000, max_output_tokens: 16_384, supports_reasoning: true },
      }),
    ).toEqual({
      ...{ names: ["m"], input: 0.15, output: 0.6, cachedInput: 0.075, cacheWrite: 0.3, reasoning: 0.7 },
      ...{ maxInputTokens: 128_000, maxOutputTokens: 16_384, hiddenReasoning: true },
    });
  });

  it("for long input are taken where there is one length, and the model is left out where there are more", () => {
    const long = { input_cost_per_token_above_200k_tokens: 3e-7 };
    expect(modelOf({ ...PLAIN, ...long })["longInput"]).toEqual({ above: 200_000, input: 0.3, output: 0.6 });
    const longer = { output_cost_per_token_above_272k_tokens: 9e-7 };
    expect(() => modelOf({ ...PLAIN, ...long, ...longer })).toThrow("several lengths");
  });

  it("that a list cannot say are named, not passed over", () => {
    const entry = { litellm_provider: "openai", mode: "chat", ...PLAIN, input_cost_per_audio_token: 1e-5 };
    const { notes } = importPrices(JSON.stringify({ m: entry }), wanted);
    expect(notes).toEqual(["m: not taken: input_cost_per_audio_token"]);
  });

  it("of models that were asked for and are not there are named", () => {
    const map = {
      "openai/m": { litellm_provider: "openai", mode: "chat", ...PLAIN },
      other: { litellm_provider: "openai", mode: "image_generation" },
    };
    const { notes, count, yaml } = importPrices(JSON.stringify(map), {
      ...wanted,
      models: ["m", "other", "absent"],
    });
    expect([count, yaml.includes('"names":["m"]')]).toEqual([1, true]);
    expect(notes).toEqual([
      'other is left out: its mode is "image_generation"',
      "absent is not in the map for provider openai",
    ]);
  });
});
