// SPDX-License-Identifier: Apache-2.0
/** The operator's API to budgets: how they stand. */
import type { BudgetsResponse, BudgetState } from "@postern/contract";
import type { Route } from "./router.ts";

export const budgetRoutes = (states: () => Promise<readonly BudgetState[]>): readonly Route[] => [
  {
    method: "GET",
    path: "/v1/budgets",
    handler: async (): Promise<BudgetsResponse> => ({ budgets: await states() }),
  },
];
