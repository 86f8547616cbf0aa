// SPDX-License-Identifier: Apache-2.0
/**
 * How do conditions stand in Cedar?
 *
 * `context.conditions` is the set of the names of those that hold. A text may ask it for names that stand in the
 * text, and for nothing else: so it is known which conditions have to be judged for it.
 */
import { type Expr, type PolicyJson, policyToJson } from "@cedar-policy/cedar-wasm/nodejs";
import canonicalize from "canonicalize";
import { ok, refuse, type Result } from "../../kernel/result.ts";

/** Holds where all of `names` do. */
export function allHold(names: readonly string[]): Expr {
  return { containsAll: { left: HOLDING, right: { Set: names.map((Value) => ({ Value })) } } };
}

const HOLDING: Expr = { ".": { left: { Var: "context" }, attr: "conditions" } };

/** `context.conditions` itself. */
function isHolding(value: unknown): boolean {
  const { left, attr } = (value as { "."?: { left?: unknown; attr?: unknown } } | undefined)?.["."] ?? {};
  return attr === "conditions" && isContext(left);
}

const isContext = (value: unknown): boolean => (value as { Var?: unknown } | undefined)?.Var === "context";

/** `text` that permits only where all of `names` hold, too. */
export function withConditions(text: string, names: readonly string[]): Result<string, string> {
  // Behind a line end: the text may close with a comment.
  const condition = `context.conditions.containsAll([${names.map((name) => JSON.stringify(name)).join(", ")}])`;
  const narrowed = `${text.slice(0, -1)}\nwhen { ${condition} };`;
  const [before, after] = [policyToJson(text), policyToJson(narrowed)];
  if (before.type !== "success" || after.type !== "success")
    return refuse("`conditions` cannot be joined to this text; end each policy with `;`");
  const added: PolicyJson["conditions"][number] = { kind: "when", body: allHold(names) };
  const expected = { ...before.json, conditions: [...before.json.conditions, added] };
  return canonicalize(expected) === canonicalize(after.json)
    ? ok(narrowed)
    : refuse("`conditions` cannot be joined to this text; end each policy with `;`");
}

/** Names of the conditions that a policy asks for, or what is wrong with how it asks. */
export function conditionsAskedFor(json: PolicyJson): Result<readonly string[], string> {
  const names = new Set<string>();
  const open: unknown[] = [json];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (typeof value !== "object" || value === null) continue;
    // `context` as a value, such as in `context == …`: nobody can tell which conditions that asks for.
    if (isHolding(value) || isContext(value)) return refuse(HOW);
    const asked = askedFor(value as Record<string, unknown>);
    if (asked === undefined) open.push(...Object.values(value).filter((child) => !isNamedField(child)));
    else for (const name of asked) names.add(name);
  }
  return ok([...names].toSorted());
}

const HOW =
  '`context.conditions` is asked in another way than by `contains`, `containsAll` or `containsAny` with names in the text; write `context.conditions.contains("NAME")`';

function askedFor(node: Record<string, unknown>): string[] | undefined {
  for (const operator of ["contains", "containsAll", "containsAny"]) {
    const { left, right } = (node[operator] ?? {}) as { left?: unknown; right?: unknown };
    if (!isHolding(left)) continue;
    const elements = (right as { Set?: unknown[] }).Set ?? [right];
    const names = elements.map((element) => (element as { Value?: unknown } | undefined)?.Value);
    if (names.every((name) => typeof name === "string")) return names;
  }
  return undefined;
}

/** What is read of the context by name is no use of it as a whole; `conditions` of it has been looked at before. */
function isNamedField(child: unknown): boolean {
  const { left, attr } = (child ?? {}) as { left?: unknown; attr?: unknown };
  return typeof attr === "string" && isContext(left);
}
