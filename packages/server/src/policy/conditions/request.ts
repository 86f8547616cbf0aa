// SPDX-License-Identifier: Apache-2.0
/**
 * Is the request one that is wanted: its operation, model, method, path, and values in its JSON body?
 *
 * What is compared is what will be sent, byte for byte: nothing is normalized. A number that two parsers could read as
 * two is unknown, and so is a body in which a value stands twice.
 */
import type { ConditionSpecOf } from "@postern/contract";
import { type AllowSpec, evaluateClauses } from "../clauses.ts";
import { allowProblems } from "../compile-allow.ts";
import { type ConditionKind, met, type SpecProblem, unknown, unmet, type Verdict } from "./condition-kind.ts";
import type { BodyFacts, BodyValue } from "./facts.ts";

type Spec = ConditionSpecOf<"request">;
type Field = NonNullable<Spec["body"]>[number];
type Scalar = string | number | boolean;

export const request: ConditionKind<Spec> = {
  scope: "request",
  bodyPointers: ({ body = [] }) => body.map(({ pointer }) => pointer),
  problems,
  conflict,
  judge: (spec) => {
    const { body = [] } = spec;
    const allow = clausesOf(spec);
    return (facts) => {
      for (const { clause, wanted, saw, matched } of evaluateClauses(allow, facts.request))
        if (matched === undefined)
          return unmet(
            `${clause}: saw ${saw === undefined ? "nothing" : shown(saw)}; wanted ${wanted.slice(0, 5).map(shown).join(", ")}`,
          );
      if (body.length === 0) return met("the request is as wanted");
      if (facts.body === undefined) return unknown("there is no JSON body that can be read in one way only");
      return judgeBody(body, facts.body);
    };
  },
};

function judgeBody(fields: readonly Field[], body: BodyFacts): Verdict {
  for (const field of fields) {
    const verdict = judgeField(field, body.at(field.pointer));
    if (!verdict.holds) return verdict;
  }
  return met("the body is as wanted");
}

function judgeField(field: Field, value: BodyValue | undefined): Verdict {
  const pointer = shownPointer(field.pointer);
  if (value === undefined)
    return field.absent === true || field.orAbsent === true
      ? met(`${pointer} is absent`)
      : unmet(`${pointer} is absent; wanted ${wantedText(field)}`);
  const saw = `${pointer} is ${shownValue(value)}`;
  if (field.absent === true) return unmet(`${saw}; wanted it absent`);
  const scalar = scalarOf(value);
  if (scalar === undefined) return unknown(`${saw}, which cannot be compared exactly`);
  return fits(field, scalar.value) ? met(saw) : unmet(`${saw}; wanted ${wantedText(field)}`);
}

function fits({ equals, in: list, min, max }: Field, value: Scalar | null): boolean {
  if (equals !== undefined) return value === equals;
  if (list !== undefined) return value !== null && list.includes(value);
  return typeof value === "number" && value >= (min ?? -Infinity) && value <= (max ?? Infinity);
}

/** Longer ones are compared with nothing. */
const LONGEST = 4096;

/** Undefined where not every reader reads the same. */
function scalarOf({ type, raw }: BodyValue): { value: Scalar | null } | undefined {
  if (type === "object" || type === "array") return { value: null };
  if (raw.length > LONGEST) return undefined;
  const text = raw.toString("utf8");
  if (type === "number") return exactNumber(text);
  const value = JSON.parse(text) as string | boolean | null;
  // RFC 8259 §8.2: what readers make of half a pair of surrogates is not predictable.
  return typeof value === "string" && !value.isWellFormed() ? undefined : { value };
}

/** A double holds any number of 15 digits exactly enough to be told from its neighbours. */
function exactNumber(text: string): { value: number } | undefined {
  const value = Number(text);
  const digits = text.replace(/e.*$/i, "").replaceAll(/[-.]/g, "").replace(/^0+/, "");
  if (!Number.isFinite(value) || digits.length > 15) return undefined;
  return value === 0 && digits !== "" ? undefined : { value };
}

/** More than this is not shown, and none of it in part: part of a secret would not be found again. */
const MOST_SHOWN = 60;

const shown = (text: string): string =>
  text.length > MOST_SHOWN ? `a text of ${text.length} characters` : JSON.stringify(text);

function shownValue({ type, raw }: BodyValue): string {
  if (type === "object" || type === "array") return `an ${type}`;
  return raw.length > MOST_SHOWN ? `a ${type} of ${raw.length} bytes` : raw.toString("utf8");
}

const shownPointer = (pointer: string): string =>
  pointer.length > MOST_SHOWN ? `${pointer.slice(0, MOST_SHOWN)}…` : pointer;

function wantedText({ equals, in: list, min, max }: Field): string {
  if (equals !== undefined) return JSON.stringify(equals);
  if (list !== undefined)
    return list
      .slice(0, 5)
      .map((each) => JSON.stringify(each))
      .join(", ");
  return [min === undefined ? "" : `at least ${min}`, max === undefined ? "" : `at most ${max}`]
    .filter((each) => each !== "")
    .join(" and ");
}

/** What it has in common with `allow`. */
function clausesOf({ operations, models, modelPatterns, methods, paths, pathPatterns }: Spec): AllowSpec {
  return { operations, models, modelPatterns, methods, paths, pathPatterns };
}

function problems(spec: Spec): SpecProblem[] {
  const { body = [] } = spec;
  const found: SpecProblem[] = allowProblems(clausesOf(spec)).map(({ path, message }) => ({
    path: path.slice(1),
    message: message.replace("of `allow`", "of a condition"),
  }));
  for (const [index, field] of body.entries()) {
    const at = (name: string): (string | number)[] => ["body", index, name];
    const { equals, in: list = [], min, max, pointer } = field;
    if (min !== undefined && max !== undefined && min > max)
      found.push({ path: at("max"), message: `is less than \`min\` (${min}); swap them` });
    for (const value of equals === undefined ? list : [equals]) {
      if (typeof value === "string" && !value.isWellFormed())
        found.push({
          path: at(equals === undefined ? "in" : "equals"),
          message: "is not well-formed Unicode",
        });
      if (typeof value === "number" && exactNumber(String(value)) === undefined)
        found.push({
          path: at(equals === undefined ? "in" : "equals"),
          message: `${value} has more than 15 digits, which readers of JSON may round; use a string`,
        });
    }
    const other = body.findIndex((each, position) => position > index && each.pointer === pointer);
    const clash = other === -1 ? undefined : clashOf(field, body[other]!);
    if (clash !== undefined) found.push({ path: ["body", other], message: `can never hold: ${clash}` });
  }
  return found;
}

function conflict(a: Spec, b: Spec): string | undefined {
  for (const field of ["operations", "models", "methods", "paths"] as const) {
    const [first, second] = [a[field], b[field]];
    if (first !== undefined && second !== undefined && !first.some((each) => second.includes(each)))
      return `they have none of their \`${field}\` in common`;
  }
  for (const first of a.body ?? [])
    for (const second of b.body ?? []) {
      const clash = first.pointer === second.pointer ? clashOf(first, second) : undefined;
      if (clash !== undefined) return clash;
    }
  return undefined;
}

/** Why one value cannot be both. */
function clashOf(a: Field, b: Field): string | undefined {
  const mayLack = (field: Field): boolean => field.absent === true || field.orAbsent === true;
  if (mayLack(a) && mayLack(b)) return undefined;
  if (a.absent === true || b.absent === true) return `${a.pointer} must be there and absent`;
  const values = (field: Field): readonly Scalar[] | undefined =>
    field.equals === undefined ? field.in : [field.equals];
  const [first, second] = [values(a), values(b)];
  const none = `no value of ${a.pointer} is both`;
  if (first !== undefined) return first.some((value) => fits(b, value)) ? undefined : none;
  if (second !== undefined) return second.some((value) => fits(a, value)) ? undefined : none;
  const low = Math.max(a.min ?? -Infinity, b.min ?? -Infinity);
  return low > Math.min(a.max ?? Infinity, b.max ?? Infinity) ? none : undefined;
}
