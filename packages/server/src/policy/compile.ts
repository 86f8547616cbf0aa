// SPDX-License-Identifier: Apache-2.0
/**
 * Which Cedar policies concern one agent at one server workload?
 *
 * Every AccessPolicy is compiled once. A request sees only the *slice* of the policies that name both its agent and
 * its server workload, so a decision costs the same however many others there are; and a policy can reach nobody
 * it does not name, whatever its Cedar text says.
 */
import { createHash } from "node:crypto";
import type { Effect, Policy } from "@cedar-policy/cedar-wasm/nodejs";
import type { ResourceOf } from "@postern/contract";
import canonicalize from "canonicalize";
import { ok, refuse, type Result } from "../kernel/result.ts";
import type { CedarSet } from "./cedar-slots.ts";
import { CEDAR_SCHEMA_VERSION } from "./cedar-schema.ts";
import type { AllowSpec } from "./clauses.ts";
import { allowProblems, allowToCedar } from "./compile-allow.ts";
import { parseCedar } from "./compile-cedar.ts";
import {
  compileConditions,
  conditionProblemsOf,
  conditionsNamedBy,
  type ConditionsOf,
} from "./compile-conditions.ts";
import type { CompiledCondition } from "./conditions/compile-condition.ts";

type AccessPolicy = ResourceOf<"AccessPolicy">;

/** What the compiler needs of a set of resources. */
export interface PolicySource {
  all<K extends "AccessPolicy" | "AccessCondition">(kind: K): readonly ResourceOf<K>[];
}

export interface PolicyProblem {
  readonly kind: "AccessPolicy" | "AccessCondition";
  readonly name: string;
  /** Where in the resource, such as `["spec", "cedar"]`. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** One Cedar policy, from `allow` or from a statement of `cedar`. */
export interface CompiledPolicy {
  /** The policy's name for `allow`; `name#0`, `name#1` … for statements of `cedar`. */
  readonly id: string;
  readonly policy: string;
  readonly agents: readonly string[];
  readonly serverWorkload: string;
  readonly credentialProvider?: string;
  /** The clauses, where it came from `allow`. */
  readonly allow?: AllowSpec;
  readonly effect: Effect;
  /** The text, where it came from `cedar`: Cedar's JSON form would round integers beyond 2^53 in JavaScript. */
  readonly cedar: Policy;
  /** Names of the AccessConditions that must hold for it to permit. */
  readonly conditions?: readonly string[];
  /** Names of conditions under which nobody has to say yes: judged with the others. */
  readonly unless?: readonly string[];
  /** Names of the AccessConditions that its text asks for. */
  readonly asksFor?: readonly string[];
  /** Decided and recorded, not enforced. */
  readonly isDryRun?: true;
}

/** The policies of one agent at one server workload, by id. */
export interface Slice extends CedarSet {
  readonly policies: ReadonlyMap<string, CompiledPolicy>;
  /** What has to be judged before it is evaluated, by name. */
  readonly conditions: readonly CompiledCondition[];
  /** Whether a policy in dry-run is among them. */
  readonly hasDryRun: boolean;
}

/** All access policies, compiled; immutable. */
export interface CompiledPolicies {
  /** SHA-256 over all compiled policies, the conditions and the schema version, in hex. */
  readonly digest: string;
  /** By name, then by statement. */
  readonly policies: readonly CompiledPolicy[];
  /** What is enforced; undefined where no enforced policy names both. */
  sliceOf(agent: string, serverWorkload: string): Slice | undefined;
  /**
   * What would be enforced if no policy were in dry-run; undefined where none in dry-run names both. Absent where no
   * policy is in dry-run at all.
   */
  readonly dryRunSliceOf?: (agent: string, serverWorkload: string) => Slice | undefined;
}

/** Compiles the set as a whole, or tells every reason against it. */
export function compilePolicies(source: PolicySource): Result<CompiledPolicies, PolicyProblem[]> {
  const problems: PolicyProblem[] = [];
  const policies: CompiledPolicy[] = [];
  const conditions = compileConditions(source.all("AccessCondition"));
  if (!conditions.ok) problems.push(...conditions.reason);
  const byName = source.all("AccessPolicy").toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  for (const policy of byName) {
    const compiled = compilePolicy(policy);
    if (compiled.ok) policies.push(...compiled.value);
    else problems.push(...compiled.reason);
  }
  if (conditions.ok) problems.push(...conditionProblemsOf(byName, askedFor(policies), conditions.value));
  if (problems.length > 0 || !conditions.ok) return refuse(problems);
  const hashes = new Map(policies.map((policy) => [policy.id, sha256(policy)]));
  return ok({
    digest: sha256({
      schema: CEDAR_SCHEMA_VERSION,
      policies: [...hashes.values()],
      conditions: conditions.value.specs,
    }),
    policies,
    ...slicers(policies, hashes, conditions.value),
  });
}

/** By name of the AccessPolicy: conditions that its texts ask for. */
function askedFor(policies: readonly CompiledPolicy[]): Map<string, string[]> {
  const asked = new Map<string, string[]>();
  for (const { policy, asksFor = [] } of policies) entryOf(asked, policy, () => []).push(...asksFor);
  return asked;
}

function compilePolicy({ metadata, spec }: AccessPolicy): Result<CompiledPolicy[], PolicyProblem[]> {
  const shared = {
    policy: metadata.name,
    agents: spec.agents,
    serverWorkload: spec.serverWorkload,
    ...(spec.credentialProvider === undefined ? {} : { credentialProvider: spec.credentialProvider }),
    ...(spec.mode === "dry-run" ? ({ isDryRun: true } as const) : {}),
    ...(spec.approval?.unless === undefined ? {} : { unless: spec.approval.unless }),
  };
  const problems: PolicyProblem[] = [];
  const compiled: CompiledPolicy[] = [];
  const against = (path: PolicyProblem["path"], message: string): void => {
    problems.push({ kind: "AccessPolicy", name: metadata.name, path, message });
  };
  const narrowed = spec.conditions === undefined ? {} : { conditions: spec.conditions };
  if (spec.allow !== undefined) {
    for (const { path, message } of allowProblems(spec.allow)) against(["spec", ...path], message);
    const cedar = allowToCedar(spec.allow, spec.serverWorkload, spec.conditions);
    compiled.push({
      ...{ ...shared, ...narrowed, id: metadata.name },
      ...{ allow: spec.allow, effect: cedar.effect, cedar },
    });
  }
  if (spec.cedar !== undefined) {
    const parsed = parseCedar(metadata.name, spec, spec.cedar);
    if (!parsed.ok) for (const message of parsed.reason) against(["spec", "cedar"], message);
    else
      compiled.push(
        ...parsed.value.map((part, index) => ({
          ...shared,
          id: `${metadata.name}#${index}`,
          effect: part.effect,
          cedar: part.text,
          ...(part.effect === "permit" ? narrowed : {}),
          ...(part.asksFor.length === 0 ? {} : { asksFor: part.asksFor }),
        })),
      );
  }
  if (spec.credentialProvider === undefined && compiled.some(({ effect }) => effect === "permit"))
    against(
      ["spec", "credentialProvider"],
      "a policy that permits needs a `credentialProvider`; only `forbid` does without",
    );
  return problems.length === 0 ? ok(compiled) : refuse(problems);
}

function slicers(
  policies: readonly CompiledPolicy[],
  hashes: ReadonlyMap<string, string>,
  conditions: ConditionsOf,
): Pick<CompiledPolicies, "sliceOf" | "dryRunSliceOf"> {
  const isEnforced = ({ isDryRun }: CompiledPolicy): boolean => isDryRun !== true;
  const sliceOf = slicer(policies.filter(isEnforced), hashes, conditions);
  if (policies.every(isEnforced)) return { sliceOf };
  const both = slicer(policies, hashes, conditions);
  const dryRunSliceOf = (agent: string, serverWorkload: string): Slice | undefined => {
    const slice = both(agent, serverWorkload);
    return slice?.hasDryRun === true ? slice : undefined;
  };
  return { sliceOf, dryRunSliceOf };
}

/** Finds slices in constant time. Agents under the same policies share one slice, which is made when it is first asked for. */
function slicer(
  policies: readonly CompiledPolicy[],
  hashes: ReadonlyMap<string, string>,
  conditions: ConditionsOf,
): CompiledPolicies["sliceOf"] {
  const index = new Map<string, Map<string, Members>>();
  const longer = new Map<Members | undefined, Map<CompiledPolicy, Members>>();
  const withPolicy = (before: Members | undefined, last: CompiledPolicy): Members =>
    entryOf(
      entryOf(longer, before, () => new Map<CompiledPolicy, Members>()),
      last,
      () => ({ before, last, slice: undefined }),
    );
  for (const policy of policies) {
    const agents = entryOf(index, policy.serverWorkload, () => new Map<string, Members>());
    for (const agent of new Set(policy.agents)) agents.set(agent, withPolicy(agents.get(agent), policy));
  }
  return (agent, serverWorkload) => {
    const chain = index.get(serverWorkload)?.get(agent);
    return chain === undefined
      ? undefined
      : (chain.slice ??= sliceWith(membersIn(chain), hashes, conditions));
  };
}

function sliceWith(
  members: readonly CompiledPolicy[],
  hashes: ReadonlyMap<string, string>,
  conditions: ConditionsOf,
): Slice {
  return {
    key: sha256(members.map(({ id }) => hashes.get(id)!)),
    policies: new Map(members.map((policy) => [policy.id, policy])),
    conditions: conditions.of(members.flatMap(conditionsNamedBy)),
    cedar: Object.fromEntries(members.map(({ id, cedar }) => [id, cedar])),
    hasDryRun: members.some(({ isDryRun }) => isDryRun === true),
  };
}

/** Policies in their order, the last one first: lists that begin alike share their beginnings, and equal lists are one. */
interface Members {
  readonly before: Members | undefined;
  readonly last: CompiledPolicy;
  slice: Slice | undefined;
}

function membersIn(chain: Members): CompiledPolicy[] {
  const members: CompiledPolicy[] = [];
  for (let at: Members | undefined = chain; at !== undefined; at = at.before) members.push(at.last);
  return members.toReversed();
}

function entryOf<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

/** Over RFC 8785 canonical JSON, so that equal content has equal digests on every machine. */
function sha256(content: unknown): string {
  const text = canonicalize(content);
  if (text === undefined) throw new TypeError("content has no JSON form");
  return createHash("sha256").update(text).digest("hex");
}
