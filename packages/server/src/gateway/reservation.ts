// SPDX-License-Identifier: Apache-2.0
/** What one request has reserved of its budgets, what it says of that to the agent, and what it comes to in the end. */
import type { BudgetUnit } from "@postern/contract";
import type { BudgetLedger, Claim, CounterState } from "../budget/ledger.ts";
import type { Instant } from "../kernel/clock.ts";
import type { HeaderList } from "./http/messages.ts";

/** Amounts of one request, by unit. */
export type Amounts = Readonly<Partial<Record<BudgetUnit, number>>>;

/** A claim, and what it is one of. */
export interface NamedClaim extends Claim {
  readonly budget: string;
  readonly unit: BudgetUnit;
  /** Milliseconds from the beginning of its window to the end. */
  readonly length: number;
}

export class Reservation {
  readonly #id: string;
  readonly #ledger: BudgetLedger;
  readonly #claims: readonly NamedClaim[];
  readonly #counters: readonly CounterState[];
  #isSent = false;

  constructor(
    id: string,
    ledger: BudgetLedger,
    claims: readonly NamedClaim[],
    counters: readonly CounterState[],
  ) {
    this.#id = id;
    this.#ledger = ledger;
    this.#claims = claims;
    this.#counters = counters;
  }

  /** In words for the log. */
  get figures(): readonly string[] {
    return this.#claims.map((claim) => figure(claim, claim.keep + claim.hold));
  }

  /** From here on nobody can tell that the upstream has not seen the request. */
  sent(): void {
    this.#isSent = true;
  }

  headers(now: Instant): HeaderList {
    return budgetHeaders(this.#claims, this.#counters, now);
  }

  /** Gives back or charges; returns what was charged, in words for the log. */
  close(): readonly string[] {
    const charges = this.#claims.map(() => (this.#isSent ? 1 : 0));
    // Where it fails, the ledger tries again by itself; the answer has been given.
    this.#ledger.settle(this.#id, charges).catch(() => {});
    return this.#claims.map((claim, index) => figure(claim, charges[index]!));
  }
}

const figure = ({ budget, unit }: NamedClaim, amount: number): string => `${budget}/${unit}=${amount}`;

/** More would only be read past; the ones with the least left come first. */
const MOST_TOLD = 8;

/**
 * What is left, as the draft of the RateLimit header fields has it (draft-ietf-httpapi-ratelimit-headers-10 §3 and
 * §4): a policy of the name `budget/unit` for each limit.
 */
export function budgetHeaders(
  claims: readonly NamedClaim[],
  counters: readonly CounterState[],
  now: Instant,
): HeaderList {
  if (claims.length === 0) return [];
  const told = claims
    .map((claim, index) => ({ claim, left: leftOf(claim, counters[index]) }))
    .toSorted((a, b) => a.left / (a.claim.limit || 1) - b.left / (b.claim.limit || 1))
    .slice(0, MOST_TOLD);
  const policies = told.map(
    ({ claim: { budget, unit, limit, length } }) =>
      `"${budget}/${unit}";q=${limit};qu="${unit}";w=${Math.ceil(length / 1000)}`,
  );
  const left = told.map(
    ({ claim, left: remaining }) =>
      `"${claim.budget}/${claim.unit}";r=${remaining};t=${secondsTo(claim.endsAt, now)}`,
  );
  return [
    ["ratelimit-policy", policies.join(", ")],
    ["ratelimit", left.join(", ")],
  ];
}

const leftOf = ({ limit }: Claim, { used, reserved }: CounterState = { used: 0, reserved: 0 }): number =>
  Math.max(0, limit - used - reserved);

/** At least one: with zero, clients would ask in a circle. */
export const secondsTo = (instant: Instant, now: Instant): number =>
  Math.max(1, Math.ceil((instant - now) / 1000));
