// SPDX-License-Identifier: Apache-2.0
/** How budgets stand, as gauges. Labels are names that operators gave. */
import type { MetricFamily, Sample } from "./metric-family.ts";

interface Counter {
  readonly subject: string;
  readonly unit: string;
  readonly limit: number;
  readonly used: number;
  readonly reserved: number;
}

interface Budget {
  readonly name: string;
  readonly counters: readonly Counter[];
}

const VALUES = {
  limit: "how much there is in one period; money in micro-dollars",
  used: "what is used of it in this period",
  reserved: "what requests that are under way may use yet",
} as const;

export function budgetFamilies(budgets: readonly Budget[]): readonly MetricFamily[] {
  if (budgets.length === 0) return [];
  return (["limit", "used", "reserved"] as const).map((value) => ({
    name: `postern_budget_${value}`,
    help: VALUES[value],
    type: "gauge",
    samples: budgets.flatMap(({ name, counters }) =>
      counters.map((counter): Sample => ({
        labels: { budget: name, subject: counter.subject, unit: counter.unit },
        value: counter[value],
      })),
    ),
  }));
}
