// SPDX-License-Identifier: Apache-2.0
/** How do budgets stand now? For operators and for metrics. */
import type { BudgetCounter, BudgetState } from "@postern/contract";
import { type CompiledBudget, type CompiledBudgets, counterKey } from "../budget/compile-budgets.ts";
import type { BudgetLedger } from "../budget/ledger.ts";
import type { Snapshot } from "../gateway/ports.ts";
import type { Clock } from "../kernel/clock.ts";

/** A budget for each of very many agents is listed up to here. */
const MOST_SUBJECTS = 1000;

export async function budgetStates(
  snapshot: Snapshot,
  ledger: BudgetLedger,
  clock: Clock,
): Promise<readonly BudgetState[]> {
  const { budgets } = snapshot;
  if (budgets === undefined) return [];
  const workloads = [...snapshot.serverWorkloads.keys()];
  return Promise.all(budgets.all.map((budget) => stateOf(budget, budgets, workloads, ledger, clock)));
}

async function stateOf(
  budget: CompiledBudget,
  budgets: CompiledBudgets,
  workloads: readonly string[],
  ledger: BudgetLedger,
  clock: Clock,
): Promise<BudgetState> {
  const window = budget.windowAt(clock.now());
  const rows = budgets
    .subjectsOf(budget, workloads)
    .slice(0, MOST_SUBJECTS)
    .flatMap((subject) =>
      budget.limits.map(([unit, limit]) => ({
        ...{ subject, unit, limit },
        key: counterKey({ budget, subject }, unit, window),
      })),
    );
  const states = await ledger.read(rows.map(({ key }) => key));
  const counters = rows.map(({ subject, unit, limit }, index): BudgetCounter => {
    const { used, reserved } = states[index] ?? { used: 0, reserved: 0 };
    return {
      ...{ subject, limit, used, reserved, left: Math.max(0, limit - used - reserved) },
      unit: unit === "dollars" ? "micro-dollars" : unit,
    };
  });
  return {
    name: budget.name,
    period: budget.spec.period,
    timeZone: budget.spec.timeZone,
    startedAt: new Date(window.startsAt).toISOString(),
    resetsAt: new Date(window.endsAt).toISOString(),
    counters,
  };
}
