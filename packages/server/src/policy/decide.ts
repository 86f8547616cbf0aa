// SPDX-License-Identifier: Apache-2.0
/**
 * May this agent do this now?
 *
 * Pure: the same compiled policies and the same request give the same decision. Default deny; `forbid` wins; and
 * whatever goes wrong denies. This is the only file that makes an `Allow`.
 */
import type { AuthorizationAnswer } from "@cedar-policy/cedar-wasm/nodejs";
import type { AccessRequest, Allow, Decision, Deny, DryRun } from "./access-request.ts";
import { type CedarQuestion, evaluateCedar, questionOf } from "./cedar-slots.ts";
import { type ClauseResult, evaluateClauses } from "./clauses.ts";
import type { CompiledPolicies, CompiledPolicy, Slice } from "./compile.ts";

/** Longer strings than these are no honest request, and bound what Cedar's `like` may cost. */
const MAX_LENGTH = { operation: 100, model: 200, method: 20, path: 8192 } as const;

/** Of each of two generations. */
const MAX_CACHED = 5000;
/** Longer keys are decided anew each time: bounds the cache to some 20 MB. */
const MAX_CACHED_KEY = 1000;

/**
 * Identical requests under the same policies; collected together with the policies. What is asked for again moves to
 * the younger generation; the older one goes as a whole, since maps whose oldest entries are deleted one by one get slow.
 */
interface Cache {
  young: Map<string, Decision>;
  old: Map<string, Decision>;
}

const caches = new WeakMap<CompiledPolicies, Cache>();

/** Decides one request. Never throws. */
export function decide(compiled: CompiledPolicies, request: AccessRequest): Decision {
  try {
    return decideOnce(compiled, request);
  } catch {
    // The library throws for input it cannot read and after a trap: both must deny, neither may stop the gateway.
    return policyError([]);
  }
}

function decideOnce(compiled: CompiledPolicies, request: AccessRequest): Decision {
  const cache = cacheOf(compiled);
  const key = keyOf(request);
  const known = cache.young.get(key);
  if (known !== undefined) return known;
  const decision = cache.old.get(key) ?? decideAnew(compiled, request);
  if (key.length <= MAX_CACHED_KEY && !isError(decision)) keep(cache, key, decision);
  return decision;
}

function keep(cache: Cache, key: string, decision: Decision): void {
  if (cache.young.size >= MAX_CACHED) [cache.old, cache.young] = [cache.young, new Map()];
  cache.young.set(key, decision);
}

function cacheOf(compiled: CompiledPolicies): Cache {
  let cache = caches.get(compiled);
  if (cache === undefined) caches.set(compiled, (cache = { young: new Map(), old: new Map() }));
  return cache;
}

/** JSON of the tuple: no two requests share a key, whatever characters they hold. */
function keyOf(request: AccessRequest): string {
  const { agent, serverWorkload, operation, model, method, path, conditions, unknownConditions } = request;
  const tuple = [agent, serverWorkload, operation ?? null, model ?? null, method, path];
  return JSON.stringify(
    conditions === undefined && unknownConditions === undefined
      ? tuple
      : [...tuple, conditions ?? null, unknownConditions ?? null],
  );
}

const isError = (decision: Decision): boolean =>
  decision.outcome === "deny" && decision.reasons.includes("policy_error");

function decideAnew(compiled: CompiledPolicies, request: AccessRequest): Decision {
  const unfit = unfitString(request);
  if (unfit !== undefined) return deny("policy_error", [], unfit);
  const { agent, serverWorkload } = request;
  const decision = decideBy(compiled.sliceOf(agent, serverWorkload), request);
  const rehearsed = compiled.dryRunSliceOf?.(agent, serverWorkload);
  return rehearsed === undefined
    ? decision
    : Object.freeze({ ...decision, dryRun: dryRunOf(rehearsed, request) });
}

/** Whatever goes wrong in it, the decision stands. */
function dryRunOf(slice: Slice, request: AccessRequest): DryRun {
  let decision: Decision;
  try {
    decision = decideBy(slice, request);
  } catch {
    decision = policyError([]);
  }
  const { outcome, policies } = decision;
  return decision.outcome === "allow"
    ? { outcome, policies, reasons: [], credentialProvider: decision.credentialProvider }
    : { outcome, policies, reasons: decision.reasons };
}

function decideBy(slice: Slice | undefined, request: AccessRequest): Decision {
  const { agent, serverWorkload } = request;
  if (slice === undefined)
    return deny(
      "no_matching_policy",
      [],
      `no access policy names both agent \`${agent}\` and server workload \`${serverWorkload}\``,
    );
  const unknown = forbidInDoubt(slice, request);
  if (unknown !== undefined)
    return deny(
      "condition_unknown",
      [unknown.policy],
      `nobody can tell whether condition \`${unknown.condition}\` holds, which access policy \`${unknown.policy}\` asks before it forbids`,
    );
  return decideQuestion(slice, questionOf(request), request);
}

/**
 * What one slice says to one question: the way of every request, and of Cedar's public corpus. Never throws.
 */
export function decideQuestion(slice: Slice, question: CedarQuestion, request: AccessRequest): Decision {
  try {
    return decisionFrom(evaluateCedar(slice, question), slice, request);
  } catch {
    // The library throws for input it cannot read and after a trap.
    return policyError([]);
  }
}

/**
 * A `forbid` that asks for a condition of which nobody can tell. What permits needs no such care: a condition that is
 * unknown does not hold.
 */
function forbidInDoubt(
  { policies }: Slice,
  { unknownConditions }: AccessRequest,
): { policy: string; condition: string } | undefined {
  if (unknownConditions === undefined) return undefined;
  for (const { effect, policy, asksFor } of policies.values()) {
    const condition = effect === "forbid" && asksFor?.find((name) => unknownConditions.includes(name));
    if (typeof condition === "string") return { policy, condition };
  }
  return undefined;
}

function decisionFrom(answer: AuthorizationAnswer, slice: Slice, request: AccessRequest): Decision {
  if (answer.type !== "success") return policyError([]);
  const { decision, diagnostics } = answer.response;
  // Cedar skips a policy that errors; a skipped `forbid` would let the request through.
  if (diagnostics.errors.length > 0)
    return policyError(
      diagnostics.errors.map(({ policyId }) => slice.policies.get(policyId)?.policy ?? policyId),
    );
  const determining = diagnostics.reason.map((id) => slice.policies.get(id));
  if (!determining.every((policy) => policy !== undefined)) return policyError([]);
  const names = distinct(determining.map(({ policy }) => policy));
  if (decision === "allow") return allowFrom(determining, names, request);
  if (names.length > 0) return deny("forbidden", names, `forbidden by access policy ${quoted(names)}`);
  const detail = `no access policy of agent \`${request.agent}\` at server workload \`${request.serverWorkload}\` allows this request`;
  const unmet = unmetConditions(slice, request);
  if (unmet.length === 0) return deny("no_matching_policy", [], detail);
  const what = unmet.length === 1 ? "condition" : "conditions";
  return deny(
    ["no_matching_policy", "condition_unmet"],
    [],
    `${detail} now: ${what} ${quoted(unmet)} ${unmet.length === 1 ? "does" : "do"} not hold`,
  );
}

/** What does not hold and would have to, for policies that fit otherwise. */
function unmetConditions({ policies }: Slice, request: AccessRequest): string[] {
  const holding = request.conditions ?? [];
  return distinct(
    [...policies.values()]
      .filter(({ allow }) => allow === undefined || evaluateClauses(allow, request).every(isMatched))
      .flatMap(({ conditions = [] }) => conditions.filter((name) => !holding.includes(name))),
  );
}

const isMatched = ({ matched }: ClauseResult): boolean => matched !== undefined;

function allowFrom(
  permits: readonly CompiledPolicy[],
  policies: readonly string[],
  { agent, serverWorkload }: AccessRequest,
): Decision {
  const [credentialProvider, ...others] = new Set(permits.map((policy) => policy.credentialProvider));
  if (credentialProvider === undefined) return policyError(policies);
  if (others.length > 0)
    return deny(
      "credential_ambiguous",
      [],
      `access policies ${quoted(policies)} allow it with different credential providers; let one credential provider remain`,
    );
  const allow = { outcome: "allow", policies, credentialProvider, serverWorkload, agent } as const;
  return Object.freeze(allow) as typeof allow & Allow;
}

function policyError(policies: readonly string[]): Deny {
  const names = distinct(policies);
  const where = names.length === 0 ? "the policies" : `access policy ${quoted(names)}`;
  return deny(
    "policy_error",
    names,
    `${where} could not be evaluated for this request; an operator mends them`,
  );
}

type Reason =
  | "no_matching_policy"
  | "forbidden"
  | "policy_error"
  | "credential_ambiguous"
  | "condition_unmet"
  | "condition_unknown";

function deny(reason: Reason | readonly Reason[], policies: readonly string[], detail: string): Deny {
  const reasons = typeof reason === "string" ? [reason] : reason;
  return Object.freeze({ outcome: "deny", code: "access_denied", reasons, policies, detail });
}

/** Why a string of the request cannot be judged, or undefined. */
function unfitString(request: AccessRequest): string | undefined {
  for (const name of ["operation", "model", "method", "path"] as const) {
    const value = request[name];
    if (value === undefined) continue;
    if (value.length > MAX_LENGTH[name]) return `the ${name} is longer than ${MAX_LENGTH[name]} characters`;
    if (!value.isWellFormed()) return `the ${name} is not well-formed Unicode`;
  }
  return undefined;
}

const distinct = (values: readonly string[]): string[] =>
  [...new Set(values)].toSorted((a, b) => (a < b ? -1 : 1));

const quoted = (names: readonly string[]): string => names.map((name) => `\`${name}\``).join(", ");
