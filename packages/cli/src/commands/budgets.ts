// SPDX-License-Identifier: Apache-2.0
/** How do budgets stand: used, reserved, left, and when they begin anew? */
import type { BudgetCounter, BudgetsResponse, BudgetState } from "@postern/contract";
import { type Command, type Invocation, nameOf, oneWord, UsageError } from "../command.ts";
import { printable } from "../printable.ts";

const list: Command = {
  name: "budget list",
  usage: "budget list",
  summary: "say of each budget how much is left, and when it begins anew",
  flags: {},
  run: async (invocation) => {
    if (invocation.words.length > 0) throw new UsageError("it takes no words");
    const answer = await invocation.control.get<BudgetsResponse>("/v1/budgets");
    if (invocation.json) invocation.print(JSON.stringify(answer));
    else if (answer.budgets.length === 0) invocation.print("there are no budgets");
    else for (const budget of answer.budgets) invocation.print(summaryOf(budget));
    return 0;
  },
};

const show: Command = {
  name: "budget show",
  usage: "budget show NAME",
  summary: "show all counters of one budget",
  flags: {},
  run: async (invocation: Invocation) => {
    const name = nameOf(oneWord(invocation, "budget"));
    const { budgets } = await invocation.control.get<BudgetsResponse>("/v1/budgets");
    const budget = budgets.find((each) => each.name === name);
    if (budget === undefined) {
      invocation.note(`there is no Budget \`${name}\`; see \`postern budget list\``);
      return 1;
    }
    if (invocation.json) {
      invocation.print(JSON.stringify(budget));
      return 0;
    }
    invocation.print(
      `${name}: per ${budget.period}, began ${budget.startedAt}, begins anew ${budget.resetsAt}`,
    );
    for (const counter of budget.counters) invocation.print(`  ${inWords(counter)}`);
    return 0;
  },
};

/** The counter with the least left stands for all. */
function summaryOf({ name, counters, resetsAt }: BudgetState): string {
  const [tightest] = counters.toSorted((a, b) => a.left / (a.limit || 1) - b.left / (b.limit || 1));
  const words = tightest === undefined ? "nobody to count" : inWords(tightest);
  const more = counters.length > 1 ? ` (the tightest of ${counters.length} counters)` : "";
  return `${name}: ${words}${more}; begins anew ${resetsAt}`;
}

function inWords({ subject, unit, limit, used, reserved, left }: BudgetCounter): string {
  const amount = (value: number): string =>
    unit === "micro-dollars" ? `$${(value / 1_000_000).toFixed(6)}` : String(value);
  const whose = subject === "" ? "" : `${printable(subject)}: `;
  const what = unit === "micro-dollars" ? "" : ` ${unit}`;
  return `${whose}${amount(left)} of ${amount(limit)}${what} left, ${amount(used)} used, ${amount(reserved)} reserved`;
}

export const budgetCommands: readonly Command[] = [list, show];
