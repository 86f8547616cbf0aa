// SPDX-License-Identifier: Apache-2.0
/**
 * How does a structured `allow` become one Cedar permit?
 *
 * It is built as Cedar's JSON form, never as text: no string of an operator can leave its place, so there is
 * nothing to escape and nothing to inject into.
 */
import type { Expr, PatternElem, PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import { AGENT_TYPE, CALL_ACTION, serverWorkloadUid } from "./cedar-schema.ts";
import { allHold } from "./conditions/cedar-conditions.ts";
import { type AllowSpec, CLAUSES } from "./clauses.ts";
import { globMatches } from "./glob.ts";

/** The permit of an `allow`. Which agents it is for is enforced by the slices that it enters (`compile.ts`). */
export function allowToCedar(
  allow: AllowSpec,
  serverWorkload: string,
  conditions: readonly string[] = [],
): PolicyJson {
  const clauses: Expr[] = [];
  for (const { clause, attribute, match } of CLAUSES) {
    const wanted = allow[clause];
    if (wanted === undefined) continue;
    const value: Expr = { ".": { left: { Var: "context" }, attr: attribute } };
    const test = match === "exact" ? isOneOf(value, wanted) : matchesOneOf(value, wanted);
    clauses.push(GUARDED.has(attribute) ? and(hasAttribute(attribute), test) : test);
  }
  if (conditions.length > 0) clauses.push(allHold(conditions));
  return {
    effect: "permit",
    principal: { op: "is", entity_type: AGENT_TYPE },
    action: { op: "==", entity: CALL_ACTION },
    resource: { op: "==", entity: serverWorkloadUid(serverWorkload) },
    conditions: clauses.map((body) => ({ kind: "when", body })),
  };
}

/** Optional in the schema: reading them unguarded is an error of evaluation. */
const GUARDED: ReadonlySet<string> = new Set(["operation", "model"]);

const and = (left: Expr, right: Expr): Expr => ({ "&&": { left, right } });

const hasAttribute = (attr: string): Expr => ({ has: { left: { Var: "context" }, attr } });

function isOneOf(value: Expr, wanted: readonly string[]): Expr {
  const [only, ...others] = wanted;
  if (only !== undefined && others.length === 0) return { "==": { left: value, right: { Value: only } } };
  return { contains: { left: { Set: wanted.map((text) => ({ Value: text })) }, right: value } };
}

/** A balanced tree: Cedar's parser overruns its stack on chains of some hundred operators. */
function matchesOneOf(value: Expr, patterns: readonly string[]): Expr {
  const [only, ...others] = patterns;
  if (only !== undefined && others.length === 0) return { like: { left: value, pattern: likePattern(only) } };
  const middle = patterns.length >> 1;
  return {
    "||": {
      left: matchesOneOf(value, patterns.slice(0, middle)),
      right: matchesOneOf(value, patterns.slice(middle)),
    },
  };
}

function likePattern(pattern: string): PatternElem[] {
  return pattern
    .split("*")
    .flatMap((literal, index): PatternElem[] => [
      ...(index > 0 ? (["Wildcard"] as const) : []),
      ...(literal === "" ? [] : [{ Literal: literal }]),
    ]);
}

export interface AllowProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** Refuses what Cedar cannot hold and what could never match. */
export function allowProblems(allow: AllowSpec): AllowProblem[] {
  const problems: AllowProblem[] = [];
  for (const { clause } of CLAUSES) {
    for (const [index, value] of (allow[clause] ?? []).entries()) {
      // Cedar strings are Unicode scalar values: a lone surrogate would make every decision of the slice fail.
      if (!value.isWellFormed())
        problems.push({ path: ["allow", clause, index], message: "is not well-formed Unicode" });
    }
  }
  return [
    ...problems,
    ...deadValues(allow, "models", "modelPatterns"),
    ...deadValues(allow, "paths", "pathPatterns"),
  ];
}

/** Every field must hold, so an exact value outside all patterns beside it is dead, which nobody means. */
function deadValues(
  allow: AllowSpec,
  exact: "models" | "paths",
  patterns: "modelPatterns" | "pathPatterns",
): AllowProblem[] {
  const alternatives = allow[patterns];
  if (alternatives === undefined) return [];
  return (allow[exact] ?? []).flatMap((value, index) =>
    alternatives.some((pattern) => globMatches(pattern, value))
      ? []
      : [
          {
            path: ["allow", exact, index],
            message: `\`${value}\` matches none of \`${patterns}\`, and every field of \`allow\` must hold; add it there as a pattern, or write a second policy`,
          },
        ],
  );
}
