// SPDX-License-Identifier: Apache-2.0
/**
 * Do the facts that attestation has verified of the caller say what is wanted?
 *
 * A fact that is not there is unknown, for `noneOf` too: whoever must not be in a namespace has to be in another one.
 */
import type { ConditionSpecOf } from "@postern/contract";
import { globMatches } from "../glob.ts";
import { type ConditionKind, met, type SpecProblem, unknown, unmet, type Verdict } from "./condition-kind.ts";

type Spec = ConditionSpecOf<"attested">;

export const attested: ConditionKind<Spec> = {
  scope: "caller",
  problems,
  conflict: (a, b) => impossible(joined(a, b)),
  judge: (spec) => {
    const judgeFacts = (selectors: readonly string[]): Verdict => judgeSelectors(spec, new Set(selectors));
    return ({ caller }) => judgeFacts(caller.selectors);
  },
};

function judgeSelectors(spec: Spec, facts: ReadonlySet<string>): Verdict {
  const { allOf = [], noneOf = [], noneOfPatterns = [] } = spec;
  const missing = allOf.find((selector) => !facts.has(selector));
  if (missing !== undefined) return unmet(`${seen(missing, facts)}; wanted ${missing}`);
  const wanted = [...(spec.anyOf ?? []), ...(spec.anyOfPatterns ?? [])];
  const found =
    spec.anyOf?.find((selector) => facts.has(selector)) ??
    [...facts].find((fact) => spec.anyOfPatterns?.some((pattern) => matches(pattern, fact)) === true);
  if (wanted.length > 0 && found === undefined)
    return unmet(`${seen(wanted[0]!, facts)}; wanted one of ${wanted.slice(0, 3).join(", ")}`);
  for (const banned of [...noneOf, ...noneOfPatterns]) {
    const same = [...facts].filter((fact) => nameOf(fact) === nameOf(banned));
    if (same.length === 0)
      return unknown(`nothing is attested of ${nameOf(banned)}, which must not be ${banned}`);
    const hit = same.find(
      (fact) => fact === banned || (noneOfPatterns.includes(banned) && matches(banned, fact)),
    );
    if (hit !== undefined) return unmet(`${hit} is attested, and must not be`);
  }
  return met(found ?? [...allOf, ...noneOf][0] ?? "all is as wanted");
}

/** `kind:key` of `kind:key=value`. */
const nameOf = (selector: string): string => selector.slice(0, selector.indexOf("="));

function seen(selector: string, facts: ReadonlySet<string>): string {
  const same = [...facts].filter((fact) => nameOf(fact) === nameOf(selector));
  return same.length === 0
    ? `nothing is attested of ${nameOf(selector)}`
    : `attested is ${same.slice(0, 3).join(", ")}`;
}

const matches = (pattern: string, fact: string): boolean =>
  nameOf(pattern) === nameOf(fact) && globMatches(pattern, fact);

/** Names whose values are numbers or digests: a part of one says nothing. */
const EXACT = /(uid|gid|pid|ids?|sha256|digest|hash|fingerprint)$/;

function problems(spec: Spec): SpecProblem[] {
  const found: SpecProblem[] = [];
  for (const field of ["anyOfPatterns", "noneOfPatterns"] as const)
    for (const [index, pattern] of (spec[field] ?? []).entries()) {
      const value = pattern.slice(pattern.indexOf("=") + 1);
      if (!value.includes("*"))
        found.push({ path: [field, index], message: "holds no `*`; write it among the exact ones" });
      else if (EXACT.test(nameOf(pattern)))
        found.push({
          path: [field, index],
          message: `a part of ${nameOf(pattern)} says nothing; write whole values in \`${field.slice(0, -8)}\``,
        });
      else if (/^\*+$/.test(value))
        found.push({
          path: [field, index],
          message: "matches everything; say what it must begin or end with",
        });
    }
  const contradiction = impossible(spec);
  if (contradiction !== undefined) found.push({ path: [], message: `can never hold: ${contradiction}` });
  return found;
}

/** Both as one, as far as that can be said: of two `anyOf` each may be met by another fact. */
const joined = (a: Spec, b: Spec): Spec => ({
  kind: "attested",
  allOf: [...(a.allOf ?? []), ...(b.allOf ?? [])],
  noneOf: [...(a.noneOf ?? []), ...(b.noneOf ?? [])],
  noneOfPatterns: [...(a.noneOfPatterns ?? []), ...(b.noneOfPatterns ?? [])],
  ...(a.anyOf === undefined ? {} : { anyOf: a.anyOf }),
});

function impossible({
  allOf = [],
  anyOf,
  anyOfPatterns,
  noneOf = [],
  noneOfPatterns = [],
}: Spec): string | undefined {
  const isBanned = (selector: string): boolean =>
    noneOf.includes(selector) || noneOfPatterns.some((pattern) => matches(pattern, selector));
  const both = allOf.find(isBanned);
  if (both !== undefined) return `${both} is wanted and must not be`;
  return anyOf !== undefined && anyOfPatterns === undefined && anyOf.every(isBanned)
    ? "every entry of `anyOf` must not be"
    : undefined;
}
