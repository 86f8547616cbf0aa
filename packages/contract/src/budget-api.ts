// SPDX-License-Identifier: Apache-2.0
/** What the API says of budgets. */
import type { BudgetPeriod, BudgetUnit } from "./budgets.ts";

/** One counter; dollars as micro-dollars. */
export interface BudgetCounter {
  /** The agent, owner, server workload or model that it is for; empty where there is one for all. */
  readonly subject: string;
  readonly unit: BudgetUnit | "micro-dollars";
  readonly limit: number;
  readonly used: number;
  /** Of requests that are under way. */
  readonly reserved: number;
  readonly left: number;
}

export interface BudgetState {
  readonly name: string;
  readonly period: BudgetPeriod;
  readonly timeZone: string;
  readonly startedAt: string;
  readonly resetsAt: string;
  readonly counters: readonly BudgetCounter[];
}

/** `GET /v1/budgets` */
export interface BudgetsResponse {
  readonly budgets: readonly BudgetState[];
}
