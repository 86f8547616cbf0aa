// SPDX-License-Identifier: Apache-2.0
/** What do so many tokens of a model cost? In whole micro-dollars, rounded up, without floating point. */
import { microDollars, type PricedModel, type ResourceOf } from "@postern/contract";
import { MOST } from "./ledger.ts";

/** Tokens by what they are billed as; no token is in two of them. */
export interface TokenParts {
  readonly input: number;
  readonly cachedInput: number;
  readonly cacheWrite: number;
  readonly output: number;
  readonly reasoning: number;
}

export interface ModelPrice {
  readonly maxOutputTokens: number | undefined;
  readonly maxInputTokens: number | undefined;
  readonly hiddenReasoning: boolean;
  costOf(parts: TokenParts): number;
  /** The most that so much input and output can cost, however it is billed. */
  mostFor(input: number, output: number): number;
}

/** Micro-dollars for a million tokens. */
type Rates = Readonly<Record<keyof TokenParts, bigint>>;

const MILLION = 1_000_000n;
const largest = (...values: bigint[]): bigint => values.reduce((a, b) => (a > b ? a : b));

export function compilePrice(model: PricedModel): ModelPrice {
  const { longInput, maxInputTokens, maxOutputTokens, reasoning } = model;
  const usual = ratesOf(model, reasoning);
  const long = longInput === undefined ? usual : ratesOf(longInput, reasoning);
  const ratesFor = (input: number): Rates => (input > (longInput?.above ?? MOST) ? long : usual);
  const costOf = (parts: TokenParts): number => {
    const rates = ratesFor(parts.input + parts.cachedInput + parts.cacheWrite);
    let sum = 0n;
    for (const part of PARTS) sum += BigInt(parts[part]) * rates[part];
    return exact(sum);
  };
  return {
    ...{ maxInputTokens, maxOutputTokens, hiddenReasoning: model.hiddenReasoning ?? false, costOf },
    mostFor(input, output) {
      const rates = ratesFor(input);
      const perInput = largest(rates.input, rates.cachedInput, rates.cacheWrite, usual.input);
      const perOutput = largest(rates.output, rates.reasoning, usual.output);
      return exact(BigInt(input) * perInput + BigInt(output) * perOutput);
    },
  };
}

const PARTS = ["input", "cachedInput", "cacheWrite", "output", "reasoning"] as const;

/** Rounded up; what is beyond all counting stays at its end. */
function exact(sum: bigint): number {
  const micro = (sum + MILLION - 1n) / MILLION;
  return micro > BigInt(MOST) ? MOST : Number(micro);
}

function ratesOf(
  prices: Pick<PricedModel, "input" | "output" | "cachedInput" | "cacheWrite">,
  reasoning: number | undefined,
): Rates {
  const rate = (price: number | undefined, otherwise: number): bigint =>
    BigInt(microDollars(price ?? otherwise) ?? MOST);
  return {
    input: rate(prices.input, 0),
    cachedInput: rate(prices.cachedInput, prices.input),
    cacheWrite: rate(prices.cacheWrite, prices.input),
    output: rate(prices.output, 0),
    reasoning: rate(reasoning, prices.output),
  };
}

/** By server workload and model, as requests name it. */
export function compilePrices(
  lists: readonly ResourceOf<"PriceList">[],
): (serverWorkload: string, model: string | undefined) => ModelPrice | undefined {
  const found = new Map<string, Map<string, ModelPrice>>();
  for (const { spec } of lists)
    for (const model of spec.models) {
      const price = compilePrice(model);
      for (const workload of spec.serverWorkloads) {
        let models = found.get(workload);
        if (models === undefined) found.set(workload, (models = new Map()));
        for (const name of model.names) models.set(name, price);
      }
    }
  return (serverWorkload, model) => (model === undefined ? undefined : found.get(serverWorkload)?.get(model));
}
