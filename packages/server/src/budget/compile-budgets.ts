// SPDX-License-Identifier: Apache-2.0
/** Which budgets count a request, and whose counter is it in each? Found once for each agent and server workload. */
import type { BudgetSpec, BudgetUnit, ResourceOf } from "@postern/contract";
import type { Instant } from "../kernel/clock.ts";
import { type CalendarWindow, windowsOf } from "./calendar-window.ts";

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
  readonly limits: readonly (readonly [unit: BudgetUnit, limit: number])[];
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

  constructor(budgets: readonly ResourceOf<"Budget">[], agents: readonly ResourceOf<"Agent">[]) {
    this.all = budgets.map(compileBudget);
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
  subjectsOf({ spec: { appliesTo, per } }: CompiledBudget): readonly string[] {
    const agents = [...this.#owners].filter(
      ([agent, owner]) => isListed(agent, appliesTo.agents) && isListed(owner, appliesTo.owners),
    );
    if (per === "agent") return agents.map(([agent]) => agent);
    if (per === "owner") return [...new Set(agents.map(([, owner]) => owner))];
    if (per === "model") return appliesTo.models ?? [];
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
    limits: Object.entries(spec.limits) as [BudgetUnit, number][],
    windowAt: windowsOf(spec.period, spec.timeZone),
  };
}

const isListed = (value: string | undefined, list: readonly string[] | undefined): boolean =>
  list === undefined || (value !== undefined && list.includes(value));
