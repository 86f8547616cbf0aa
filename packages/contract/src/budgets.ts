// SPDX-License-Identifier: Apache-2.0
/** What may stand in `spec` of a Budget: for whom it counts, over which period, and how much there is. */
import { z } from "zod";
import { microDollars } from "./micro-dollars.ts";

const names = z
  .array(z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/))
  .min(1)
  .max(1000)
  .optional();

/** Which requests it counts. Every field that is there must hold; at least one must be there. */
const appliesTo = z
  .strictObject({
    agents: names,
    /** Teams: `owner` of the agent, compared exactly. */
    owners: z.array(z.string().min(1).max(200)).min(1).max(1000).optional(),
    serverWorkloads: names,
    models: z.array(z.string().min(1).max(200)).min(1).max(1000).optional(),
    /** Access policies, one of which allowed the request. */
    policies: names,
    /** Every request of everybody; excludes the other fields. */
    everything: z.literal(true).optional(),
  })
  .refine(
    (value) => Object.keys(value).length > 0,
    "say which requests it counts; `everything: true` counts all",
  )
  .refine(
    (value) => value.everything === undefined || Object.keys(value).length === 1,
    "`everything: true` stands alone",
  );

const amount = z.int().min(0).max(1_000_000_000_000).optional();

const limits = z
  .strictObject({
    requests: amount,
    /** Input and output together. */
    tokens: amount,
    inputTokens: amount,
    outputTokens: amount,
    dollars: z
      .number()
      .min(0)
      .max(1_000_000_000)
      .refine((value) => microDollars(value) !== undefined, "use at most six decimals")
      .optional(),
  })
  .refine((value) => Object.keys(value).length > 0, "say how much there is, such as `requests: 1000`");

export const budgetSpec = z
  .strictObject({
    appliesTo,
    /** One counter for each of these instead of one for all together. */
    per: z.enum(["agent", "owner", "serverWorkload", "model"]).optional(),
    period: z.enum(["minute", "hour", "day", "month"]),
    /** IANA zone in which days and months begin. */
    timeZone: z.string().min(1).max(64).default("UTC"),
    limits,
    /** Output tokens that are reserved where neither the request nor a price list says a maximum. */
    assumeOutputTokens: z.int().min(1).max(100_000_000).optional(),
  })
  .refine((spec) => spec.per !== "model" || spec.appliesTo.models !== undefined, {
    message: "`per: model` needs `appliesTo.models`: an agent may name any number of models",
    path: ["per"],
  });

export type BudgetSpec = z.infer<typeof budgetSpec>;
export type BudgetUnit = keyof BudgetSpec["limits"];
export type BudgetPeriod = BudgetSpec["period"];
