// SPDX-License-Identifier: Apache-2.0
/** What may stand in `spec` of a PriceList: what models cost, as data that operators bring up to date. */
import { z } from "zod";
import { microDollars } from "./micro-dollars.ts";

/** Dollars for a million tokens, which is micro-dollars for one. */
const price = z
  .number()
  .min(0)
  .max(1_000_000)
  .refine((value) => microDollars(value) !== undefined, {
    message: "use at most six decimals",
  });

const tokens = z.int().min(1).max(100_000_000).optional();

const model = z.strictObject({
  /** As requests name it, exactly; every alias is one more. */
  names: z.array(z.string().min(1).max(200)).min(1).max(100),
  input: price,
  output: price,
  cachedInput: price.optional(),
  cacheWrite: price.optional(),
  /** Where thinking costs something else than other output. */
  reasoning: price.optional(),
  /** What one answer can hold at most. */
  maxOutputTokens: tokens,
  /** The context window. */
  maxInputTokens: tokens,
  /** It thinks without showing it: what was streamed says little about what was used. */
  hiddenReasoning: z.boolean().optional(),
  /** Prices of requests with more input than so many tokens. */
  longInput: z
    .strictObject({
      above: z.int().min(1).max(100_000_000),
      input: price,
      output: price,
      cachedInput: price.optional(),
      cacheWrite: price.optional(),
    })
    .optional(),
});

export const priceListSpec = z.strictObject({
  version: z.string().min(1).max(100),
  /** The day for which somebody has checked them. */
  date: z.iso.date(),
  /** Where they were read. */
  source: z.string().max(500).optional(),
  serverWorkloads: z
    .array(z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/))
    .min(1)
    .max(1000),
  models: z.array(model).min(1).max(2000),
});

export type PricedModel = z.infer<typeof model>;
