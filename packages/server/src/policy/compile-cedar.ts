// SPDX-License-Identifier: Apache-2.0
/**
 * How does raw Cedar text become policies that are safe to evaluate?
 *
 * Bounded, parsed, no templates, strictly validated against the schema, and no name that can never occur: in a
 * `forbid` a misspelt name would silently forbid nothing.
 */
import {
  type DetailedError,
  type Effect,
  type PolicyJson,
  policySetTextToParts,
  policyToJson,
  validate,
} from "@cedar-policy/cedar-wasm/nodejs";
import type { ResourceOf } from "@postern/contract";
import { nearestName } from "../kernel/nearest-name.ts";
import { ok, refuse, type Result } from "../kernel/result.ts";
import { cedarDepthProblem, cedarTextProblem } from "./cedar-bounds.ts";
import { conditionsAskedFor, withConditions } from "./conditions/cedar-conditions.ts";
import { AGENT_TYPE, CEDAR_SCHEMA, SERVER_WORKLOAD_TYPE } from "./cedar-schema.ts";

export interface CedarPart {
  readonly text: string;
  readonly effect: Effect;
  /** Names of conditions that the text asks for. */
  readonly asksFor: readonly string[];
}

type Spec = ResourceOf<"AccessPolicy">["spec"];

/** The policies of `cedar`, in the order of the text, or every reason against them. */
export function parseCedar(name: string, spec: Spec, cedar: string): Result<CedarPart[], string[]> {
  const bounds = cedarTextProblem(cedar);
  if (bounds !== undefined) return refuse([`\`cedar\` ${bounds}`]);
  const split = policiesIn(cedar);
  if (!split.ok) return split;
  const texts = split.value;
  const problems: string[] = [];
  const policies: CedarPart[] = [];
  for (const [index, text] of texts.entries()) {
    const parsed = policyToJson(text);
    if (parsed.type === "failure") {
      problems.push(...parsed.errors.map((error) => `${name}#${index}: ${error.message}`));
      continue;
    }
    const depth = cedarDepthProblem(parsed.json);
    if (depth !== undefined) {
      problems.push(`${name}#${index}: ${depth}`);
      continue;
    }
    problems.push(...foreignNames(parsed.json, spec).map((message) => `${name}#${index}: ${message}`));
    const part = withItsConditions(text, parsed.json, spec);
    if (part.ok) policies.push(part.value);
    else problems.push(`${name}#${index}: ${part.reason}`);
  }
  if (problems.length === 0) problems.push(...validationProblems(name, texts, cedar));
  return problems.length === 0 ? ok(policies) : refuse(problems);
}

/** The text of each policy, in their order. */
export function policiesIn(cedar: string): Result<string[], string[]> {
  const parts = policySetTextToParts(cedar);
  if (parts.type === "failure") return refuse(parts.errors.map((error) => describe(cedar, 0, error)));
  if (parts.policy_templates.length > 0)
    return refuse(["`cedar` holds a template (`?principal`); write policies"]);
  if (parts.policies.length === 0) return refuse(["`cedar` holds no policy"]);
  return ok(inSourceOrder(parts.policies));
}

/** What permits, does so under the conditions of the resource; a `forbid` stands whether they hold or not. */
function withItsConditions(text: string, json: PolicyJson, spec: Spec): Result<CedarPart, string> {
  const asksFor = conditionsAskedFor(json);
  if (!asksFor.ok) return asksFor;
  const { effect } = json;
  if (effect === "forbid" || spec.conditions === undefined)
    return ok({ text, effect, asksFor: asksFor.value });
  const narrowed = withConditions(text, spec.conditions);
  return narrowed.ok ? ok({ text: narrowed.value, effect, asksFor: asksFor.value }) : narrowed;
}

/** The library numbers policies in the order of the text but returns them sorted by `policyN` as text. */
function inSourceOrder(parts: readonly string[]): string[] {
  const ids = parts.map((_, index) => `policy${index}`).toSorted((a, b) => (a < b ? -1 : 1));
  const ordered: string[] = [];
  for (const [position, id] of ids.entries()) ordered[Number(id.slice(6))] = parts[position]!;
  return ordered;
}

/** Warnings count: they name policies that can never apply, and characters that mislead readers. */
function validationProblems(name: string, texts: readonly string[], cedar: string): string[] {
  const answer = validate({
    validationSettings: { mode: "strict" },
    schema: CEDAR_SCHEMA,
    policies: { staticPolicies: Object.fromEntries(texts.map((text, index) => [`${name}#${index}`, text])) },
  });
  if (answer.type === "failure") return answer.errors.map((error) => error.message);
  const starts = startsIn(cedar, texts);
  return [...answer.validationErrors, ...answer.validationWarnings].map(({ policyId, error }) =>
    describe(cedar, starts[Number(policyId.slice(name.length + 1))] ?? 0, error),
  );
}

function startsIn(cedar: string, texts: readonly string[]): number[] {
  let from = 0;
  return texts.map((text) => {
    const found = cedar.indexOf(text, from);
    if (found === -1) return from;
    from = found + text.length;
    return found;
  });
}

/** Cedar's message with its place in the text. Cedar counts bytes; `start` counts UTF-16 units. */
function describe(cedar: string, start: number, error: DetailedError): string {
  const offset = error.sourceLocations?.[0]?.start;
  const help = error.help === null ? "" : `; ${error.help}`;
  if (offset === undefined) return `${error.message}${help}`;
  const before = Buffer.from(cedar.slice(0, start)).length + offset;
  const lines = Buffer.from(cedar).subarray(0, before).toString().split("\n");
  return `line ${lines.length}, column ${(lines.at(-1) ?? "").length + 1} of \`cedar\`: ${error.message}${help}`;
}

/** Names of agents and server workloads in the text that the policy is not for. */
function foreignNames(json: PolicyJson, spec: Spec): string[] {
  return [...entitiesIn(json)].flatMap(({ type, id }) => {
    if (type === AGENT_TYPE && !spec.agents.includes(id)) {
      const nearest = nearestName(id, spec.agents);
      const hint = nearest === undefined ? `add it to \`agents\`` : `did you mean \`${nearest}\`?`;
      return [`names agent \`${id}\`, which is not in \`agents\` of this policy; ${hint}`];
    }
    if (type === SERVER_WORKLOAD_TYPE && id !== spec.serverWorkload)
      return [`names server workload \`${id}\`, but this policy is for \`${spec.serverWorkload}\``];
    return [];
  });
}

function* entitiesIn(json: unknown): Generator<{ type: string; id: string }> {
  const open: unknown[] = [json];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (typeof value !== "object" || value === null) continue;
    if ("type" in value && "id" in value && typeof value.type === "string" && typeof value.id === "string")
      yield { type: value.type, id: value.id };
    open.push(...Object.values(value));
  }
}
