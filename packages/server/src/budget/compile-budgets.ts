// SPDX-License-Identifier: Apache-2.0
/** Which budgets count a request, and whose counter is it in each? Found once for each agent and server workload. */
import { type BudgetSpec, type BudgetUnit, microDollars, type ResourceOf } from "@postern/contract";
import type { Instant } from "../kernel/clock.ts";
import { type CalendarWindow, windowsOf } from "./calendar-window.ts";
import { compilePrices, type ModelPrice } from "./price.ts";

export interface CountedRequest {
  readonly agent: string;
  readonly serverWorkload: string;
  readonly model?: string | undefined;
  /** That allowed it. */
  readonly policies: readonly string[];
}

export interface CompiledBudget {
  readonly name: string;
  readonly spec: BudgetSpec;
  /** Dollars in micro-dollars. */
  readonly limits: readonly (readonly [unit: BudgetUnit, limit: number])[];
  /** Whether it counts anything but requests. */
  readonly isMetered: boolean;
  windowAt(now: Instant): CalendarWindow;
}

/** A counter of a budget: one of the whole, or of one agent, team, server workload or model. */
export interface Counter {
  readonly budget: CompiledBudget;
  /** Empty where there is one for all. */
  readonly subject: string;
}

export class CompiledBudgets {
  readonly all: readonly CompiledBudget[];
  readonly #owners: ReadonlyMap<string, string>;
  /** By agent and server workload: those that model and policies do not rule out yet. */
  readonly #candidates = new Map<string, Map<string, readonly CompiledBudget[]>>();

  readonly priceOf: (serverWorkload: string, model: string | undefined) => ModelPrice | undefined;

  constructor(
    budgets: readonly ResourceOf<"Budget">[],
    agents: readonly ResourceOf<"Agent">[],
    prices: readonly ResourceOf<"PriceList">[] = [],
  ) {
    this.all = budgets.map(compileBudget);
    this.priceOf = compilePrices(prices);
    this.#owners = new Map(agents.map(({ metadata, spec }) => [metadata.name, spec.owner ?? ""]));
  }

  /** Agent and server workload are registered names: what is remembered of them stays small. */
  candidates(agent: string, serverWorkload: string): readonly CompiledBudget[] {
    let ofAgent = this.#candidates.get(agent);
    if (ofAgent === undefined) this.#candidates.set(agent, (ofAgent = new Map()));
    let found = ofAgent.get(serverWorkload);
    if (found === undefined) {
      const owner = this.#owners.get(agent) ?? "";
      found = this.all.filter(
        ({ spec: { appliesTo } }) =>
          isListed(agent, appliesTo.agents) &&
          isListed(owner, appliesTo.owners) &&
          isListed(serverWorkload, appliesTo.serverWorkloads),
      );
      ofAgent.set(serverWorkload, found);
    }
    return found;
  }

  countersOf(request: CountedRequest): readonly Counter[] {
    const counters: Counter[] = [];
    for (const budget of this.candidates(request.agent, request.serverWorkload)) {
      const { models, policies } = budget.spec.appliesTo;
      if (!isListed(request.model, models)) continue;
      if (policies !== undefined && !request.policies.some((policy) => policies.includes(policy))) continue;
      counters.push({ budget, subject: this.#subjectOf(budget, request) });
    }
    return counters;
  }

  /** Everybody that a budget has a counter for, as far as that can be listed. */
  subjectsOf(
    { spec: { appliesTo, per } }: CompiledBudget,
    serverWorkloads: readonly string[],
  ): readonly string[] {
    const agents = [...this.#owners].filter(
      ([agent, owner]) => isListed(agent, appliesTo.agents) && isListed(owner, appliesTo.owners),
    );
    if (per === "agent") return agents.map(([agent]) => agent);
    if (per === "owner") return [...new Set(agents.map(([, owner]) => owner))];
    if (per === "model") return appliesTo.models ?? [];
    if (per === "serverWorkload") return appliesTo.serverWorkloads ?? serverWorkloads;
    return [""];
  }

  #subjectOf({ spec: { per } }: CompiledBudget, request: CountedRequest): string {
    if (per === undefined) return "";
    if (per === "owner") return this.#owners.get(request.agent) ?? "";
    return request[per] ?? "";
  }
}

/** A limit that is changed counts on; one that is taken away and given again has not been used up less. */
export const counterKey = ({ budget, subject }: Counter, unit: BudgetUnit, window: CalendarWindow): string =>
  JSON.stringify([budget.name, unit, window.label, subject]);

function compileBudget({ metadata, spec }: ResourceOf<"Budget">): CompiledBudget {
  return {
    name: metadata.name,
    spec,
    limits: limitsOf(spec),
    isMetered: Object.keys(spec.limits).some((unit) => unit !== "requests"),
    windowAt: windowsOf(spec.period, spec.timeZone),
  };
}

const limitsOf = ({ limits }: BudgetSpec): CompiledBudget["limits"] =>
  (Object.entries(limits) as [BudgetUnit, number][]).map(
    ([unit, limit]) => [unit, unit === "dollars" ? (microDollars(limit) ?? 0) : limit] as const,
  );

const isListed = (value: string | undefined, list: readonly string[] | undefined): boolean =>
  list === undefined || (value !== undefined && list.includes(value));
