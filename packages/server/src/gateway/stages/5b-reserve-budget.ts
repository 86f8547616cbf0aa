// SPDX-License-Identifier: Apache-2.0
/**
 * Stage 5b: is there enough left? Everything that the request may come to is reserved, in all budgets that count it
 * or in none, before anything leaves.
 */
import type { BudgetUnit } from "@postern/contract";
import { counterKey, type CompiledBudgets } from "../../budget/compile-budgets.ts";
import type { BudgetLedger, CounterState, ReserveAnswer } from "../../budget/ledger.ts";
import type { Clock, Instant } from "../../kernel/clock.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { Allow } from "../../policy/access-request.ts";
import { type Amounts, budgetHeaders, type NamedClaim, Reservation, secondsTo } from "../reservation.ts";
import type { MatchedRequest } from "./4-match-server-workload.ts";
import { type Refusal, refusal } from "./refusal.ts";

export interface BudgetParts {
  readonly budgets: CompiledBudgets | undefined;
  readonly ledger: BudgetLedger;
  readonly clock: Clock;
}

/** Undefined where no budget counts the request. `id` is the decision's. */
export function reserveBudget(
  id: string,
  matched: MatchedRequest,
  allow: Allow,
  { budgets, ledger, clock }: BudgetParts,
): undefined | Promise<Result<Reservation, Refusal>> {
  const { agent, serverWorkload, policies } = allow;
  const counters = budgets?.countersOf({ agent, serverWorkload, policies, model: matched.model }) ?? [];
  if (counters.length === 0) return undefined;
  const now = clock.now();
  const amounts: Amounts = { requests: 1 };
  const claims = counters.flatMap((counter): NamedClaim[] => {
    const window = counter.budget.windowAt(now);
    return counter.budget.limits.map(([unit, limit]) => ({
      ...{ budget: counter.budget.name, unit, limit, key: counterKey(counter, unit, window) },
      ...{
        keep: amounts[unit] ?? 0,
        hold: 0,
        endsAt: window.endsAt,
        length: window.endsAt - window.startsAt,
      },
    }));
  });
  return reserve(id, claims, ledger, now);
}

async function reserve(
  id: string,
  claims: readonly NamedClaim[],
  ledger: BudgetLedger,
  now: Instant,
): Promise<Result<Reservation, Refusal>> {
  let answer: ReserveAnswer;
  try {
    answer = await ledger.reserve(id, claims);
  } catch {
    return refuse(
      refusal("control_plane_unavailable", "the budgets cannot be read or written", [
        "budget_store_unavailable",
      ]),
    );
  }
  if (answer.isAdmitted) return ok(new Reservation(id, ledger, claims, answer.counters));
  return refuse(exhausted(claims, answer.counters, now));
}

/** Requests that are under way end at some time; until then it makes sense to ask again now and then. */
const ASK_AGAIN = 5;

function exhausted(claims: readonly NamedClaim[], counters: readonly CounterState[], now: Instant): Refusal {
  const short = claims.flatMap((claim, index) => {
    const { used, reserved } = counters[index]!;
    return claim.keep + claim.hold > claim.limit - used - reserved ? [{ claim, used }] : [];
  });
  const waits = short.map(({ claim, used }) => {
    const amount = claim.keep + claim.hold;
    return amount <= claim.limit - used ? ASK_AGAIN : secondsTo(claim.endsAt, now);
  });
  const names = short.map(({ claim: { budget, unit } }) => `\`${budget}\` (${UNIT_WORDS[unit]})`);
  const never = short.some(({ claim }) => claim.keep + claim.hold > claim.limit);
  return {
    code: "budget_exhausted",
    detail: `${names.join(", ")} ${never ? "is smaller than what this request may come to" : "has too little left"}`,
    reasons: [
      never ? "over_budget" : "exhausted",
      ...short.map(({ claim }) => `budget:${claim.budget}/${claim.unit}`),
    ],
    ...(never ? {} : { retryAfter: Math.max(...waits) }),
    headers: budgetHeaders(claims, counters, now),
  };
}

const UNIT_WORDS: Readonly<Record<BudgetUnit, string>> = { requests: "requests" };
