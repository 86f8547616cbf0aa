// SPDX-License-Identifier: Apache-2.0
import { budgetSpec, priceListSpec, type ResourceOf } from "@postern/contract";
import { describe, expect, it, test } from "vitest";
import { CompiledBudgets } from "../../budget/compile-budgets.ts";
import type { BudgetLedger, Claim } from "../../budget/ledger.ts";
import type { Allow } from "../../policy/access-request.ts";
import { matchedOf, workloadOf } from "../request.fixture.ts";
import type { Ending, Reservation } from "../reservation.ts";
import { UsageMeter } from "../usage-meter.ts";
import { reserveBudget } from "./5b-reserve-budget.ts";

const NOW = Date.parse("2026-11-21T12:00:00Z");
const clock = { now: () => NOW };

/** Admits everything and remembers what it was asked. */
function openLedger() {
  const claims: (readonly Claim[])[] = [];
  const charges: (readonly number[])[] = [];
  const ledger: BudgetLedger = {
    reserve: async (_id, each) => {
      claims.push(each);
      const isAdmitted = each.every(({ keep, hold, limit }) => keep + hold <= limit);
      return { isAdmitted, counters: each.map(() => ({ used: 0, reserved: 0 })) };
    },
    settle: async (_id, each) => void charges.push(each),
    read: async () => [],
    close: async () => {},
  };
  return { ledger, claims, charges };
}

const budget = (limits: object, more: object = {}): ResourceOf<"Budget"> => ({
  kind: "Budget",
  metadata: { name: "b" },
  spec: budgetSpec.parse({ appliesTo: { everything: true }, period: "day", limits, ...more }),
});

const prices = (model: object = {}): ResourceOf<"PriceList"> => ({
  kind: "PriceList",
  metadata: { name: "p" },
  spec: priceListSpec.parse({
    ...{ version: "1", date: "2026-11-21", serverWorkloads: ["openai", "anthropic", "gemini"] },
    models: [
      { names: ["m", "alias"], input: 2, output: 8, cachedInput: 0.5, maxOutputTokens: 1000, ...model },
    ],
  }),
});

interface Asked {
  readonly profile?: string;
  readonly operation?: string;
  readonly model?: string;
  readonly limits?: object;
  readonly more?: object;
  readonly price?: object | null;
}

const PATHS: Readonly<Record<string, string>> = {
  openai: "chat.completions",
  anthropic: "messages",
  gemini: "generateContent",
};

/** What comes of a request with this body under one budget. */
async function ask(body: string | undefined, asked: Asked = {}) {
  const { profile = "openai", limits = { tokens: 100_000, dollars: 1 }, more, model = "m" } = asked;
  const { ledger, claims, charges } = openLedger();
  const lists = asked.price === null ? [] : [prices(asked.price ?? {})];
  const budgets = new CompiledBudgets([budget(limits, more)], [], lists);
  const matched = matchedOf(workloadOf(profile), "/x", {
    operation: asked.operation ?? PATHS[profile]!,
    model,
    ...(body === undefined ? {} : { body: Buffer.from(body) }),
  });
  const allow = {
    agent: "a",
    serverWorkload: profile,
    policies: ["p"],
    credentialProvider: "c",
  } as unknown as Allow;
  const answer = await reserveBudget("id", matched, allow, { budgets, ledger, clock });
  const most = (unit: string): number | undefined => {
    const found = claims[0]?.find(({ key }) => key.includes(`"${unit}"`));
    return found && found.keep + found.hold;
  };
  return { answer, most, charges, profile };
}

const reasonOf = async (body: string | undefined, asked?: Asked) => {
  const { answer } = await ask(body, asked);
  return answer?.ok === false ? [answer.reason.code, answer.reason.reasons?.[0]] : answer?.ok;
};

describe("a limit of output that could be read in two ways, or not at all", () => {
  it.each([
    ["negative", '{"max_tokens":-1}'],
    ["a fraction", '{"max_tokens":10.5}'],
    ["a string", '{"max_tokens":"10"}'],
    ["an object", '{"max_tokens":{"a":1}}'],
    ["a list", '{"max_tokens":[10]}'],
    ["true", '{"max_tokens":true}'],
    ["beyond all numbers", `{"max_tokens":1${"0".repeat(400)}}`],
    ["infinite", '{"max_tokens":1e999}'],
    ["twice", '{"max_tokens":1,"max_tokens":1000000}'],
    ["twice, once with an escape", '{"max_tokens":1,"max\\u005ftokens":1000000}'],
    ["in another case", '{"max_tokens":1,"MAX_TOKENS":1000000}'],
    ["with a letter that some fold", '{"max_tokens":1,"max_token\\u017f":1000000}'],
    ["not JSON", '{"max_tokens":NaN}'],
    ["how many answers: a fraction", '{"max_tokens":1,"n":1.5}'],
    ["how many answers: negative", '{"max_tokens":1,"n":-3}'],
  ])("is refused: %s", async (_name, body) => {
    expect(await reasonOf(body)).toEqual(["request_malformed", "budget_field"]);
  });

  it("is refused where the object around it is there twice", async () => {
    const body = '{"generationConfig":{"maxOutputTokens":1},"generationConfig":{"maxOutputTokens":99}}';
    expect(await reasonOf(body, { profile: "gemini" })).toEqual(["request_malformed", "budget_field"]);
  });
});

describe("the most that a request can use", () => {
  it.each<[string, string, string, number]>([
    ["its own limit", "openai", '{"max_tokens":10}', 10],
    ["the larger of two limits", "openai", '{"max_tokens":10,"max_completion_tokens":500}', 500],
    ["no more than the model can say", "openai", '{"max_tokens":9007199254740993}', 1000],
    ["what the model can say, where it sets none", "openai", "{}", 1000],
    ["the same where it says null or zero", "openai", '{"max_tokens":null,"max_completion_tokens":0}', 1000],
    ["times the answers it wants", "openai", '{"max_tokens":10,"n":7}', 70],
    ["the limit of Anthropic", "anthropic", '{"max_tokens":12}', 12],
    ["the limit of Gemini", "gemini", '{"generationConfig":{"maxOutputTokens":20,"candidateCount":3}}', 60],
    ["Gemini in its other spelling", "gemini", '{"generation_config":{"max_output_tokens":21}}', 21],
    [
      "the larger of both spellings",
      "gemini",
      '{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":22}}',
      22,
    ],
  ])("is %s", async (_name, profile, body, output) => {
    const { answer, most } = await ask(body, {
      profile,
      limits: { outputTokens: 1e6, inputTokens: 1e6, tokens: 1e6 },
    });
    expect(answer?.ok).toBe(true);
    const input = body.length + (profile === "anthropic" ? 512 : 0);
    expect([most("inputTokens"), most("outputTokens"), most("tokens")]).toEqual([
      input,
      output,
      input + output,
    ]);
  });

  it("counts every byte of input, and takes no time for text that would stop a tokenizer", async () => {
    const body = JSON.stringify({ messages: "a".repeat(2_000_000), max_tokens: 1 });
    const { most } = await ask(body, { limits: { inputTokens: 1e9 } });
    expect(most("inputTokens")).toBe(body.length);
  });

  it("costs micro-dollars, rounded up, at the highest price that may apply", async () => {
    const body = '{"max_tokens":10}';
    const usual = await ask(body, { limits: { dollars: 1 } });
    expect(usual.most("dollars")).toBe(body.length * 2 + 10 * 8);
    const writing = await ask(body, { limits: { dollars: 1 }, price: { cacheWrite: 2.5, reasoning: 10 } });
    expect(writing.most("dollars")).toBe(Math.ceil(body.length * 2.5) + 10 * 10);
    const long = await ask(body, {
      limits: { dollars: 1 },
      price: { longInput: { above: 5, input: 4, output: 16 } },
    });
    expect(long.most("dollars")).toBe(body.length * 4 + 10 * 16);
  });

  it("cannot overflow: what is beyond counting is larger than every budget", async () => {
    const body = `{"max_tokens":9007199254740991,"n":9007199254740991}`;
    const asked = { limits: { outputTokens: 1e12, dollars: 1e9 }, price: { maxOutputTokens: undefined } };
    const { answer, most } = await ask(body, asked);
    expect(most("outputTokens")).toBe(Number.MAX_SAFE_INTEGER);
    expect(most("dollars")).toBe(Number.MAX_SAFE_INTEGER);
    expect(answer).toMatchObject({ ok: false, reason: { code: "budget_exhausted" } });
  });
});

describe("what is no text, or brings in text from elsewhere", () => {
  const image =
    '{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:,"}}]}],"max_tokens":1}';

  it.each<[string, string, string]>([
    ["an image of a few bytes", "openai", image],
    ["in another case", "openai", image.replace('"image_url":', '"IMAGE_URL":')],
    ["with an escape", "openai", image.replace('"image_url":', '"image\\u005furl":')],
    ["deep inside", "openai", `{"a":${"[".repeat(200)}{"file_id":"f"}${"]".repeat(200)},"max_tokens":1}`],
    ["an audio", "openai", '{"messages":[{"content":[{"input_audio":{}}]}],"max_tokens":1}'],
    [
      "a document of Anthropic",
      "anthropic",
      '{"messages":[{"content":[{"type":"document","source":{}}]}],"max_tokens":1}',
    ],
    ["data of Gemini", "gemini", '{"contents":[{"parts":[{"inline_data":{}}]}]}'],
    ["a search of Gemini", "gemini", '{"tools":[{"googleSearch":{}}]}'],
  ])("counts as all that the model takes in, or is refused: %s", async (_name, profile, body) => {
    expect(await reasonOf(body, { profile })).toEqual(["usage_unbounded", "input_unbounded"]);
    const known = { maxInputTokens: 5000 };
    const { most } = await ask(body, { profile, price: known, limits: { inputTokens: 1e6 } });
    expect(most("inputTokens")).toBe(5000);
  });

  it("is not seen in text that only speaks of it", async () => {
    const body = JSON.stringify({ messages: [{ content: '"image_url": {}' }], max_tokens: 1 });
    expect((await ask(body, { limits: { inputTokens: 1e6 } })).most("inputTokens")).toBe(body.length);
  });
});

describe("what nobody can bound is refused", () => {
  it.each<[string, string | undefined, Asked, string]>([
    ["a model without a price", '{"max_tokens":1}', { model: "m-2026-11-01" }, "price_unknown"],
    ["a price list that is not there", '{"max_tokens":1}', { price: null }, "price_unknown"],
    ["no limit of output at all", "{}", { limits: { tokens: 9 }, price: null }, "output_unbounded"],
    [
      "input that lies elsewhere",
      '{"previous_response_id":"r"}',
      { operation: "responses" },
      "input_unbounded",
    ],
    ["an operation that nobody meters", undefined, { operation: "images.generate" }, "not_metered"],
    ["a WebSocket", undefined, { operation: "realtime" }, "not_metered"],
    ["a body that is no JSON", undefined, {}, "not_metered"],
    ["another kind of API", undefined, { profile: "http", operation: "anything" }, "not_metered"],
  ])("%s", async (_name, body, asked, reason) => {
    expect(await reasonOf(body, asked)).toEqual(["usage_unbounded", reason]);
  });

  it("but not where the operator says what to assume, or where the context window is known", async () => {
    const assumed = await ask("{}", {
      limits: { outputTokens: 99 },
      price: null,
      more: { assumeOutputTokens: 40 },
    });
    expect(assumed.most("outputTokens")).toBe(40);
    const window = await ask('{"previous_response_id":"r","max_output_tokens":1}', {
      ...{ operation: "responses", limits: { inputTokens: 1e6 }, price: { maxInputTokens: 5000 } },
    });
    expect(window.most("inputTokens")).toBe(5000);
  });

  it("and not what uses nothing, nor where only requests are counted", async () => {
    expect(await reasonOf(undefined, { operation: "models.list", price: null })).toBe(true);
    expect(await reasonOf(undefined, { operation: "images.generate", limits: { requests: 1 } })).toBe(true);
  });

  it("an alias has the price that the list gives it", async () => {
    const { most } = await ask('{"max_tokens":1}', { model: "alias", limits: { dollars: 1 } });
    expect(most("dollars")).toBe(16 * 2 + 8);
  });
});

describe("a ledger that cannot be asked", () => {
  it("refuses", async () => {
    const { ledger } = openLedger();
    const broken = { ...ledger, reserve: async () => Promise.reject(new Error("away")) };
    const budgets = new CompiledBudgets([budget({ requests: 1 })], []);
    const allow = { agent: "a", serverWorkload: "openai", policies: [] } as unknown as Allow;
    const answer = await reserveBudget("id", matchedOf(workloadOf("openai"), "/x"), allow, {
      ...{ budgets, ledger: broken, clock },
    });
    expect(answer).toMatchObject({ ok: false, reason: { code: "control_plane_unavailable" } });
  });
});

describe("what a request is charged", () => {
  const BODY = '{"max_tokens":100}';
  const sse = (...events: object[]): string =>
    events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("");

  /** Charges in the order input, output, micro-dollars. */
  async function charged(
    answer: { text: string; type?: string } | undefined,
    more: Partial<Ending> = {},
    asked: Asked = {},
    isSent = true,
  ) {
    const limits = { inputTokens: 1e6, outputTokens: 1e6, dollars: 1 };
    const { answer: reserved, charges, profile } = await ask(BODY, { ...asked, limits });
    const reservation = (reserved as { value: Reservation }).value;
    if (isSent) reservation.sent();
    const meter = new UsageMeter(workloadOf(profile).profile, answer?.type ?? "application/json", true);
    meter.feed(Buffer.from(answer?.text ?? ""));
    const usage = meter.finish();
    const { basis } = reservation.close({
      ...{ status: answer === undefined ? undefined : 200, code: undefined, ended: "complete", usage },
      ...{ isWhole: meter.isWhole, textBytes: meter.textBytes },
      ...more,
    });
    return [...charges[0]!, basis];
  }

  const json = (usage: object) => ({ text: JSON.stringify({ usage }) });
  const stream = (...events: object[]) => ({ text: sse(...events), type: "text/event-stream" });
  const delta = (content: string) => ({ choices: [{ delta: { content } }] });
  const BOUND = [BODY.length, 100, BODY.length * 2 + 800, "bound"];

  test("is what was reported, each part at its price", async () => {
    expect(await charged(json({ prompt_tokens: 10, completion_tokens: 5 }))).toEqual([10, 5, 60, "reported"]);
    const details = { prompt_tokens_details: { cached_tokens: 4 } };
    expect(await charged(json({ prompt_tokens: 10, completion_tokens: 5, ...details }))).toEqual([
      ...[10, 5, 6 * 2 + 4 * 0.5 + 5 * 8],
      "reported",
    ]);
  });

  test("of Anthropic counts the cache besides the input, of Gemini the thoughts besides the output", async () => {
    const cached = { input_tokens: 1, output_tokens: 2, cache_read_input_tokens: 30 };
    expect(await charged(json(cached), {}, { profile: "anthropic" })).toEqual([
      31,
      2,
      1 * 2 + 15 + 16,
      "reported",
    ]);
    const thinking = {
      text: '{"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2,"thoughtsTokenCount":3}}',
    };
    expect(await charged(thinking, {}, { profile: "gemini" })).toEqual([1, 5, 2 + 40, "reported"]);
  });

  test.each<[string, object]>([
    ["is missing", {}],
    ["is negative", { prompt_tokens: -5, completion_tokens: -5 }],
    ["is no number", { prompt_tokens: "1", completion_tokens: null }],
    ["is beyond all answers", { prompt_tokens: 1e15, completion_tokens: 1e300 }],
    ["is a fraction", { prompt_tokens: 0.1, completion_tokens: 0.1 }],
  ])("is the bound where the usage %s", async (_name, usage) => {
    expect(await charged(json(usage))).toEqual(BOUND);
  });

  test("is not less because parts are said to be larger than the whole", async () => {
    const lie = { prompt_tokens: 10, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 1000 } };
    expect(await charged(json(lie))).toEqual([10, 5, 60, "reported"]);
  });

  test("is what was reported also where that is more than was reserved", async () => {
    expect(await charged(json({ prompt_tokens: 5000, completion_tokens: 900 }))).toEqual([
      ...[5000, 900, 10_000 + 7200],
      "reported",
    ]);
  });

  test("of several reports is the largest, not the sum and not the last", async () => {
    const usage = (prompt: number, completion: number) => ({
      usage: { prompt_tokens: prompt, completion_tokens: completion },
    });
    expect(await charged(stream(usage(10, 1), usage(10, 7), usage(0, 0)))).toEqual([10, 7, 76, "reported"]);
  });

  test("of a stream that reports nothing is the text that was seen, a token for each byte at most", async () => {
    expect(await charged(stream(delta("hello"), delta(" you")))).toEqual([18, 9, 36 + 72, "seen"]);
    expect(await charged(stream(delta("x".repeat(5000))))).toEqual([18, 100, 36 + 800, "seen"]);
  });

  test("of a stream that is aborted is what was seen, never nothing", async () => {
    const aborted = { ended: "client_aborted" } as const;
    expect(await charged(stream(delta("hello")), aborted)).toEqual([18, 5, 36 + 40, "seen"]);
    expect(await charged(stream({ choices: [] }), aborted)).toEqual(BOUND);
    expect(await charged({ text: "" }, { ...aborted, status: undefined })).toEqual(BOUND);
    const begun = { message: { usage: { input_tokens: 12, output_tokens: 1 } } };
    const anthropic = { profile: "anthropic" };
    expect(await charged(stream(begun, { delta: { text: "abc" } }), aborted, anthropic)).toEqual([
      ...[12, 3, 24 + 24],
      "seen",
    ]);
  });

  test("of a model that thinks unseen is the bound where nothing was reported", async () => {
    expect(await charged(stream(delta("hi")), {}, { price: { hiddenReasoning: true } })).toEqual(BOUND);
  });

  test("is nothing where it never left, where the upstream refused it, or broke off before it answered", async () => {
    expect(await charged(undefined, { ended: "refused", code: "upstream_unreachable" }, {}, false)).toEqual([
      ...[0, 0, 0],
      undefined,
    ]);
    expect(await charged(json({}), { status: 429 })).toEqual([0, 0, 0, "nothing"]);
    expect(await charged(undefined, { ended: "refused", code: "upstream_failed" })).toEqual([
      0,
      0,
      0,
      "nothing",
    ]);
  });

  test("is the bound where the upstream never answered in time: it may have done the work", async () => {
    expect(await charged(undefined, { ended: "refused", code: "upstream_timeout" })).toEqual(BOUND);
  });
});
