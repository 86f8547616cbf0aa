// SPDX-License-Identifier: Apache-2.0
/**
 * Does a policy permit what is always forbidden, so that it can never apply?
 *
 * Cedar evaluates the forbids with what a permit leaves open as unknown: a forbid that is satisfied nevertheless is
 * satisfied whatever comes. Where that cannot be told, nothing is said.
 */
import { type Context, isAuthorizedPartial, type Policy } from "@cedar-policy/cedar-wasm/nodejs";
import { agentUid, CALL_ACTION, serverWorkloadUid } from "./cedar-schema.ts";
import type { AllowSpec } from "./clauses.ts";
import type { CompiledPolicies, CompiledPolicy, PolicyProblem, Slice } from "./compile.ts";

export interface Contradictions {
  /** Policies that forbid everything that they permit: nobody means that. */
  readonly refused: readonly PolicyProblem[];
  /** Policies that another one makes useless: it may be meant for a time. */
  readonly warnings: readonly PolicyProblem[];
}

/** Combinations of exact values of one permit that are tried; beyond, nothing is said. */
const MOST_TRIED = 64;
/** Slices that are looked at for one change. */
const MOST_SLICES = 200;

/** Looks at policies that share an agent and a server workload with one of those named. */
export function contradictionsOf(compiled: CompiledPolicies, names: ReadonlySet<string>): Contradictions {
  const found = new Map<
    string,
    { permit: CompiledPolicy; forbids: readonly CompiledPolicy[]; agents: string[] }
  >();
  const seen = new Set<Slice>();
  for (const [agent, slice] of slicesOf(compiled, names)) {
    const all = [...slice.policies.values()];
    const forbids = all.filter(({ effect }) => effect === "forbid");
    if (forbids.length === 0 || (!seen.has(slice) && seen.size >= MOST_SLICES)) continue;
    seen.add(slice);
    for (const permit of all.filter(({ effect }) => effect === "permit")) {
      if (!names.has(permit.policy) && !forbids.some(({ policy }) => names.has(policy))) continue;
      const known = found.get(permit.id);
      const by = shadowedBy(permit, forbids, agent);
      if (by === undefined) continue;
      if (known === undefined) found.set(permit.id, { permit, forbids: by, agents: [agent] });
      else known.agents.push(agent);
    }
  }
  const refused: PolicyProblem[] = [];
  const warnings: PolicyProblem[] = [];
  for (const { permit, forbids, agents } of found.values()) {
    const isOwn = forbids.every(({ policy }) => policy === permit.policy);
    const isWhole = agents.length === new Set(permit.agents).size;
    (isOwn && isWhole ? refused : warnings).push(problemOf(permit, forbids, isWhole ? [] : agents, names));
  }
  return { refused, warnings };
}

function* slicesOf(compiled: CompiledPolicies, names: ReadonlySet<string>): Iterable<[string, Slice]> {
  const done = new Set<string>();
  for (const { policy, agents, serverWorkload } of compiled.policies) {
    if (!names.has(policy)) continue;
    for (const agent of agents) {
      const pair = `${agent}/${serverWorkload}`;
      const slice = done.has(pair) ? undefined : compiled.sliceOf(agent, serverWorkload);
      done.add(pair);
      if (slice !== undefined) yield [agent, slice];
    }
  }
}

/** The forbids that leave nothing of the permit, or undefined. */
function shadowedBy(
  { allow, serverWorkload }: CompiledPolicy,
  forbids: readonly CompiledPolicy[],
  agent: string,
): readonly CompiledPolicy[] | undefined {
  const contexts = contextsOf(allow ?? {});
  if (contexts === undefined) return undefined;
  const by = new Set<string>();
  const cedar: Record<string, Policy> = Object.fromEntries(forbids.map((each) => [each.id, each.cedar]));
  for (const context of contexts) {
    const answer = isAuthorizedPartial({
      principal: agentUid(agent),
      action: CALL_ACTION,
      resource: serverWorkloadUid(serverWorkload),
      context,
      policies: { staticPolicies: cedar },
      entities: [],
    });
    const first = answer.type === "residuals" ? answer.response.satisfied[0] : undefined;
    if (first === undefined) return undefined;
    by.add(first);
  }
  return forbids.filter(({ id }) => by.has(id));
}

const unknown = (name: string): Context[string] => ({ __extn: { fn: "unknown", arg: name } });

/** One for each combination of what is exact, and for each way in which what may be absent is there or not. */
function contextsOf(allow: AllowSpec | Record<string, never>): Context[] | undefined {
  const has = allow.models !== undefined || allow.modelPatterns !== undefined;
  const choices: Record<string, readonly (Context[string] | undefined)[]> = {
    operation: allow.operations ?? [unknown("operation"), undefined],
    model: allow.models ?? (has ? [unknown("model")] : [unknown("model"), undefined]),
    method: allow.methods ?? [unknown("method")],
    path: allow.paths ?? [unknown("path")],
  };
  let contexts: Context[] = [{ conditions: unknown("conditions") }];
  for (const [name, values] of Object.entries(choices)) {
    if (contexts.length * values.length > MOST_TRIED) return undefined;
    contexts = contexts.flatMap((context) =>
      values.map((value) => (value === undefined ? context : { ...context, [name]: value })),
    );
  }
  return contexts;
}

function problemOf(
  permit: CompiledPolicy,
  forbids: readonly CompiledPolicy[],
  agents: readonly string[],
  names: ReadonlySet<string>,
): PolicyProblem {
  const by = forbids.map(({ id }) => `\`${id}\``).join(", ");
  const whom = agents.length === 0 ? "" : ` for ${agents.map((agent) => `\`${agent}\``).join(", ")}`;
  const isOwn = forbids.every(({ policy }) => policy === permit.policy);
  const fix = isOwn
    ? "narrow the forbid with `when`, or remove one of them"
    : "delete or narrow one of them, unless this is meant";
  // The place is in what was changed.
  const changed = names.has(permit.policy)
    ? permit
    : (forbids.find(({ policy }) => names.has(policy)) ?? permit);
  return {
    kind: "AccessPolicy",
    name: changed.policy,
    path: ["spec", changed.allow === undefined ? "cedar" : "allow"],
    message: `everything that \`${permit.id}\` allows is forbidden by ${by}${whom}, so it never applies; ${fix}`,
  };
}
