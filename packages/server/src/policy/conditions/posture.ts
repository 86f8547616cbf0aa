// SPDX-License-Identifier: Apache-2.0
/**
 * Is what the caller runs on healthy, by the word of those who look?
 *
 * Their word counts where it is about the caller: about a fact that attestation has verified of it, or about this
 * machine for its own processes. What has expired is as if nobody had said it, and of several who speak of the same
 * fact each must find it right: stale is not healthy, and one doubt is enough.
 */
import type { ConditionSpecOf } from "@postern/contract";
import type { Instant } from "../../kernel/clock.ts";
import { type ConditionKind, met, type SpecProblem, unknown, unmet } from "./condition-kind.ts";
import type { ConditionFacts, PostureStatement } from "./facts.ts";

type Spec = ConditionSpecOf<"posture">;
type Wanted = Spec["facts"][number];

export const posture: ConditionKind<Spec> = {
  scope: "caller",
  problems,
  judge: (spec) => (facts) => {
    const statements = statementsOn(facts).filter(
      ({ source }) => spec.sources === undefined || spec.sources.includes(source),
    );
    const endOf = ({ observedAt, expiresAt }: PostureStatement): Instant =>
      Math.min(expiresAt, spec.maxAge === undefined ? Infinity : observedAt + spec.maxAge * 1000);
    const current = statements.filter(
      (statement) => facts.now < endOf(statement) && statement.observedAt <= facts.now + CLOCKS_DIFFER,
    );
    const validUntil = Math.min(...current.map(endOf));
    const seen: string[] = [];
    for (const wanted of spec.facts) {
      const about = current.filter((statement) => Object.hasOwn(statement.facts, wanted.name));
      const wrong = about.find((statement) => !fits(wanted, statement.facts[wanted.name]!));
      if (wrong !== undefined)
        return unmet(`${said(wrong, wanted.name)}; wanted ${wantedText(wanted)}`, validUntil);
      if (about.length === 0)
        return unknown(
          statements.some((statement) => Object.hasOwn(statement.facts, wanted.name))
            ? `what was said of ${wanted.name} is too old`
            : `nobody has said anything of ${wanted.name}`,
        );
      seen.push(said(about[0]!, wanted.name));
    }
    return met(seen.join(", "), validUntil);
  },
};

/** Milliseconds by which the clock of a source may be ahead. */
const CLOCKS_DIFFER = 60_000;

function statementsOn({ caller, sources }: ConditionFacts): readonly PostureStatement[] {
  const subjects = caller.process === undefined ? caller.selectors : ["machine", ...caller.selectors];
  return subjects.flatMap((subject) => sources.posture?.of(subject) ?? []);
}

function fits({ equals, min, max }: Wanted, value: boolean | number | string): boolean {
  if (equals !== undefined) return value === equals;
  return typeof value === "number" && value >= (min ?? -Infinity) && value <= (max ?? Infinity);
}

const said = ({ source, facts }: PostureStatement, name: string): string =>
  `${name} is ${JSON.stringify(facts[name])} (${source})`;

function wantedText({ equals, min, max }: Wanted): string {
  if (equals !== undefined) return JSON.stringify(equals);
  return [min === undefined ? [] : [`at least ${min}`], max === undefined ? [] : [`at most ${max}`]]
    .flat()
    .join(" and ");
}

function problems({ facts }: Spec): SpecProblem[] {
  const found: SpecProblem[] = [];
  for (const [index, { name, min = -Infinity, max = Infinity }] of facts.entries()) {
    if (min > max)
      found.push({ path: ["facts", index, "max"], message: `is less than \`min\` (${min}); swap them` });
    if (facts.findIndex((other) => other.name === name) !== index)
      found.push({ path: ["facts", index, "name"], message: `\`${name}\` stands above already; join them` });
  }
  return found;
}
