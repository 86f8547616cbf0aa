// SPDX-License-Identifier: Apache-2.0
/**
 * Stage 5b: is there enough left? Everything that the request may come to is reserved, in all budgets that count it
 * or in none, before anything leaves.
 */
import type { BudgetUnit } from "@postern/contract";
import { type CompiledBudgets, type Counter, counterKey } from "../../budget/compile-budgets.ts";
import type { BudgetLedger, CounterState, ReserveAnswer } from "../../budget/ledger.ts";
import type { Clock, Instant } from "../../kernel/clock.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { Allow } from "../../policy/access-request.ts";
import type { BodyShare } from "../body-memory.ts";
import type { RawRequest } from "../http/messages.ts";
import { boundOf, unbounded } from "../request-bound.ts";
import {
  type Amounts,
  amountsOf,
  budgetHeaders,
  type Metered,
  type NamedClaim,
  Reservation,
  secondsTo,
} from "../reservation.ts";
import { asksForUpgrade } from "../websocket/handshake.ts";
import { isJson, type MatchedRequest, refusedBody } from "./4-match-server-workload.ts";
import { type Refusal, refusal } from "./refusal.ts";

/** The same request, with its body where a budget has to know how long it is and what limits it sets. */
export function readForBudgets(
  agent: string,
  matched: MatchedRequest,
  request: RawRequest,
  budgets: CompiledBudgets | undefined,
  share: BodyShare,
): Result<MatchedRequest, Refusal> | Promise<Result<MatchedRequest, Refusal>> {
  const counting = budgets?.candidates(agent, matched.workload.name) ?? [];
  if (matched.body !== undefined || !counting.some(({ isMetered }) => isMetered)) return ok(matched);
  const { metering } = matched.workload.profile;
  if (metering?.operations[matched.operation ?? ""] === undefined) return ok(matched);
  if (!isJson(request.headers) || asksForUpgrade(request.headers)) return ok(matched);
  return collected(matched, request, share);
}

async function collected(
  matched: MatchedRequest,
  request: RawRequest,
  share: BodyShare,
): Promise<Result<MatchedRequest, Refusal>> {
  const body = await share.collect(request.body);
  return body.ok
    ? ok({ ...matched, body: body.value })
    : refuse(refusedBody(body.reason, "the gateway reads to bound what it may use"));
}

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
  parts: BudgetParts,
): undefined | Promise<Result<Reservation, Refusal>> {
  const { budgets } = parts;
  if (budgets === undefined) return undefined;
  const { agent, serverWorkload, policies } = allow;
  const counters = budgets.countersOf({ agent, serverWorkload, policies, model: matched.model });
  return counters.length === 0 ? undefined : reserve(id, counters, matched, budgets, parts);
}

async function reserve(
  id: string,
  counters: readonly Counter[],
  matched: MatchedRequest,
  budgets: CompiledBudgets,
  { ledger, clock }: BudgetParts,
): Promise<Result<Reservation, Refusal>> {
  const metered = await meteredOf(counters, matched, budgets);
  if (!metered.ok) return metered;
  const now = clock.now();
  const claims = claimsOf(counters, metered.value, now);
  let answer: ReserveAnswer;
  try {
    // What uses nothing is not asked for.
    answer = claims.length === 0 ? NOTHING_ASKED : await ledger.reserve(id, claims);
  } catch {
    return refuse(
      refusal("control_plane_unavailable", "the budgets cannot be read or written", [
        "budget_store_unavailable",
      ]),
    );
  }
  if (answer.isAdmitted) return ok(new Reservation(id, ledger, claims, answer.counters, metered.value));
  return refuse(exhausted(claims, answer.counters, now));
}

const NOTHING_ASKED: ReserveAnswer = { isAdmitted: true, counters: [] };

const NO_TOKENS = { input: 0, output: 0 };

/** Undefined where only requests are counted. */
async function meteredOf(
  counters: readonly Counter[],
  { workload, operation, model, body }: MatchedRequest,
  budgets: CompiledBudgets,
): Promise<Result<Metered | undefined, Refusal>> {
  const counting = counters.filter(({ budget }) => budget.isMetered).map(({ budget }) => budget);
  const [first] = counting;
  if (first === undefined) return ok(undefined);
  const { metering, name: profile } = workload.profile;
  if (metering !== undefined && operation !== undefined && metering.free.includes(operation))
    return ok({ bound: NO_TOKENS, metering, price: undefined });
  const rules = metering?.operations[operation ?? ""];
  if (metering === undefined || rules === undefined || body === undefined)
    return refuse(
      unbounded(
        "not_metered",
        `nobody can say what ${operation === undefined ? "this request" : `\`${operation}\` of profile \`${profile}\``} uses, and Budget \`${first.name}\` counts tokens or dollars`,
      ),
    );
  const price = budgets.priceOf(workload.name, model);
  const paying = counting.find(({ spec }) => spec.limits.dollars !== undefined);
  if (paying !== undefined && price === undefined)
    return refuse(
      unbounded(
        "price_unknown",
        `no PriceList has a price of ${model === undefined ? "a request without a model" : `model \`${model}\``} at server workload \`${workload.name}\`, and Budget \`${paying.name}\` counts dollars`,
      ),
    );
  const assumptions = counting.flatMap(({ spec }) => spec.assumeOutputTokens ?? []);
  const assumed = assumptions.length === 0 ? undefined : Math.max(...assumptions);
  const bound = await boundOf(body, { metering, operation: rules, price, assumed });
  return bound.ok ? ok({ bound: bound.value, metering, price }) : bound;
}

/** Of what a request may come to its input is kept in any case: where the gateway dies, it had probably left. */
function claimsOf(counters: readonly Counter[], metered: Metered | undefined, now: Instant): NamedClaim[] {
  const { bound = NO_TOKENS, price } = metered ?? {};
  const { input, output } = bound;
  const most = amountsOf({ requests: 1, input, output, dollars: price?.mostFor(input, output) ?? 0 });
  const kept = amountsOf({ requests: 1, input, output: 0, dollars: price?.mostFor(input, 0) ?? 0 });
  return counters.flatMap((counter) => {
    const window = counter.budget.windowAt(now);
    return counter.budget.limits.flatMap(([unit, limit]): NamedClaim[] => {
      if (most[unit] === 0) return [];
      const keep = Math.min(kept[unit], most[unit]);
      return [
        {
          ...{ budget: counter.budget.name, unit, limit, key: counterKey(counter, unit, window) },
          ...{ keep, hold: most[unit] - keep },
          ...{ endsAt: window.endsAt, length: window.endsAt - window.startsAt },
        },
      ];
    });
  });
}

/** Requests that are under way end at some time; until then it makes sense to ask again now and then. */
const ASK_AGAIN = 5;

function exhausted(claims: readonly NamedClaim[], counters: readonly CounterState[], now: Instant): Refusal {
  const short = claims.flatMap((claim, index) => {
    const { used, reserved } = counters[index]!;
    const amount = claim.keep + claim.hold;
    const left = Math.max(0, claim.limit - used - reserved);
    return amount > left ? [{ claim, used, amount, left }] : [];
  });
  const never = short.find(({ claim, amount }) => amount > claim.limit);
  const waits = short.map(({ claim, used, amount }) =>
    amount <= claim.limit - used ? ASK_AGAIN : secondsTo(claim.endsAt, now),
  );
  const names = short.map(({ claim: { budget, unit, limit }, left }) => {
    const amount = unit === "dollars" ? inWords(unit, left) : left;
    return `\`${budget}\` has ${amount} of ${inWords(unit, limit)} left`;
  });
  const detail =
    never === undefined
      ? `${names.join(", ")}: too little for what this request may use`
      : `this request may use ${inWords(never.claim.unit, never.amount)}, and Budget \`${never.claim.budget}\` has ${inWords(never.claim.unit, never.claim.limit)} in all`;
  return {
    code: "budget_exhausted",
    detail,
    reasons: [
      never === undefined ? "exhausted" : "over_budget",
      ...short.map(({ claim }) => `${claim.budget}/${claim.unit}`),
    ],
    ...(never === undefined ? { retryAfter: Math.max(...waits) } : {}),
    headers: budgetHeaders(claims, counters, now),
  };
}

const UNIT_WORDS: Readonly<Record<keyof Amounts, string>> = {
  requests: "requests",
  tokens: "tokens",
  inputTokens: "input tokens",
  outputTokens: "output tokens",
  dollars: "dollars",
};

const inWords = (unit: BudgetUnit, amount: number): string =>
  unit === "dollars" ? `$${(amount / 1_000_000).toFixed(6)}` : `${amount} ${UNIT_WORDS[unit]}`;
