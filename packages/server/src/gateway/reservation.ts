// SPDX-License-Identifier: Apache-2.0
/** What one request has reserved of its budgets, what it says of that to the agent, and what it comes to in the end. */
import type { BudgetUnit } from "@postern/contract";
import type { BudgetLedger, Claim, CounterState } from "../budget/ledger.ts";
import type { ModelPrice } from "../budget/price.ts";
import { type Seen, type TokenBound, usedBy } from "../budget/usage.ts";
import type { Instant } from "../kernel/clock.ts";
import type { ProfileMetering } from "../profiles/profile.ts";
import type { HeaderList } from "./http/messages.ts";
import type { OutcomeRecord } from "./ports.ts";

/** Amounts of one request, by unit. */
export type Amounts = Readonly<Record<BudgetUnit, number>>;

/** A claim, and what it is one of. */
export interface NamedClaim extends Claim {
  readonly budget: string;
  readonly unit: BudgetUnit;
  /** Milliseconds from the beginning of its window to the end. */
  readonly length: number;
}

/** How tokens of the request are counted; absent where only requests are. */
export interface Metered {
  readonly bound: TokenBound;
  readonly metering: ProfileMetering;
  readonly price: ModelPrice | undefined;
}

/** What became of the request. */
export interface Ending extends Omit<Seen, "isWhole"> {
  readonly status: number | undefined;
  readonly code: string | undefined;
  readonly ended: OutcomeRecord["ended"];
  readonly isWhole: boolean;
}

/** What was charged and by what it was known, in words for the log. */
export interface Charged {
  readonly figures: readonly string[];
  readonly basis?: "reported" | "seen" | "bound" | "nothing" | undefined;
}

export class Reservation {
  readonly #id: string;
  readonly #ledger: BudgetLedger;
  readonly #claims: readonly NamedClaim[];
  readonly #counters: readonly CounterState[];
  readonly #metered: Metered | undefined;
  #isSent = false;

  constructor(
    id: string,
    ledger: BudgetLedger,
    claims: readonly NamedClaim[],
    counters: readonly CounterState[],
    metered: Metered | undefined,
  ) {
    this.#id = id;
    this.#ledger = ledger;
    this.#claims = claims;
    this.#counters = counters;
    this.#metered = metered;
  }

  /** In words for the log. */
  get figures(): readonly string[] {
    return this.#claims.map((claim) => figure(claim, claim.keep + claim.hold));
  }

  get countsTokens(): boolean {
    return this.#metered !== undefined;
  }

  /** From here on nobody can tell that the upstream has not seen the request. */
  sent(): void {
    this.#isSent = true;
  }

  headers(now: Instant): HeaderList {
    return budgetHeaders(this.#claims, this.#counters, now);
  }

  /** Gives back or charges. */
  close(ending: Ending): Charged {
    const { amounts, basis } = this.#spent(ending);
    if (this.#claims.length === 0) return { figures: [] };
    const charges = this.#claims.map(({ unit }) => amounts[unit]);
    // Where it fails, the ledger tries again by itself; the answer has been given.
    this.#ledger.settle(this.#id, charges).catch(() => {});
    return { figures: this.#claims.map((claim, index) => figure(claim, charges[index]!)), basis };
  }

  #spent(ending: Ending): { amounts: Amounts; basis?: Charged["basis"] } {
    if (!this.#isSent) return { amounts: amountsOf({ requests: 0, input: 0, output: 0, dollars: 0 }) };
    if (this.#metered === undefined)
      return { amounts: amountsOf({ requests: 1, input: 0, output: 0, dollars: 0 }) };
    const { bound, metering, price } = this.#metered;
    if (isNothing(ending))
      return { amounts: amountsOf({ requests: 1, input: 0, output: 0, dollars: 0 }), basis: "nothing" };
    const isWhole = ending.isWhole || ending.ended === "complete";
    const used = usedBy(bound, { ...ending, isWhole }, metering, price);
    const dollars =
      price === undefined
        ? 0
        : used.basis === "bound"
          ? price.mostFor(used.input, used.output)
          : price.costOf(used.parts);
    return { amounts: amountsOf({ requests: 1, ...used, dollars }), basis: used.basis };
  }
}

/** Providers bill no errors, unless they say so, and nothing where the connection broke before they answered. */
function isNothing({ status, code, usage }: Ending): boolean {
  if (status === undefined) return code === "upstream_failed" || code === "upstream_unreachable";
  return (status < 200 || status >= 300) && usage === undefined;
}

export function amountsOf(of: {
  readonly requests: number;
  readonly input: number;
  readonly output: number;
  readonly dollars: number;
}): Amounts {
  const { requests, input, output, dollars } = of;
  const tokens = Math.min(Number.MAX_SAFE_INTEGER, input + output);
  return { requests, inputTokens: input, outputTokens: output, tokens, dollars };
}

const figure = ({ budget, unit }: NamedClaim, amount: number): string =>
  `${budget}/${nameOf(unit)}=${amount}`;

/** On the wire and in the log money is whole micro-dollars. */
const nameOf = (unit: BudgetUnit): string => (unit === "dollars" ? "micro-dollars" : unit);

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
  const told = claims.map((claim, index) => ({ claim, left: leftOf(claim, counters[index]) }));
  if (told.length > 1)
    told.sort((a, b) => a.left / (a.claim.limit || 1) - b.left / (b.claim.limit || 1)).splice(MOST_TOLD);
  const policies: string[] = [];
  const lefts: string[] = [];
  for (const { claim, left } of told) {
    const unit = nameOf(claim.unit);
    const name = `"${claim.budget}/${unit}"`;
    policies.push(`${name};q=${claim.limit};qu="${unit}";w=${Math.ceil(claim.length / 1000)}`);
    lefts.push(`${name};r=${left};t=${secondsTo(claim.endsAt, now)}`);
  }
  return [
    ["ratelimit-policy", policies.join(", ")],
    ["ratelimit", lefts.join(", ")],
  ];
}

const leftOf = ({ limit }: Claim, { used, reserved }: CounterState = { used: 0, reserved: 0 }): number =>
  Math.max(0, limit - used - reserved);

/** At least one: with zero, clients would ask in a circle. */
export const secondsTo = (instant: Instant, now: Instant): number =>
  Math.max(1, Math.ceil((instant - now) / 1000));
