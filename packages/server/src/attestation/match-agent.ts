// SPDX-License-Identifier: Apache-2.0
/** Which registered agent do attested selectors make? Pure: the same selectors and agents always give the same answer. */
import { ok, refuse, type Result } from "../kernel/result.ts";

export interface AgentRegistration {
  readonly name: string;
  /** All of them must hold. */
  readonly selectors: readonly string[];
}

export interface NearMiss {
  readonly agent: string;
  /** Selectors of the agent that did not hold for at least one process. */
  readonly failed: readonly string[];
}

export type MatchRefusal =
  | { readonly code: "no_agent_matches"; readonly nearMisses: readonly NearMiss[] }
  | { readonly code: "agent_ambiguous"; readonly agents: readonly string[] };

const MOST_NEAR_MISSES = 3;

/**
 * `holders` has a set of selectors for every process that holds the connection: each of them must match, so that a
 * process cannot borrow the identity of another one by sharing its socket; for evidence that is presented it has one
 * set. With `asked`, no other agent counts.
 */
export function matchAgent<Agent extends AgentRegistration>(
  holders: readonly ReadonlySet<string>[],
  agents: readonly Agent[],
  asked?: string,
): Result<Agent, MatchRefusal> {
  const candidates = agents
    .filter((agent) => asked === undefined || agent.name === asked)
    .map((agent) => ({ agent, failed: failedSelectors(agent, holders) }));
  const matching = candidates.filter(({ failed }) => failed.length === 0).map(({ agent }) => agent);
  const [only] = matching;
  if (only !== undefined && matching.length === 1) return ok(only);
  if (matching.length > 1)
    return refuse({ code: "agent_ambiguous", agents: matching.map(({ name }) => name).toSorted() });
  const nearMisses = candidates
    .map(({ agent, failed }) => ({ agent: agent.name, failed }))
    .toSorted((a, b) => a.failed.length - b.failed.length || (a.agent < b.agent ? -1 : 1))
    .slice(0, MOST_NEAR_MISSES);
  return refuse({ code: "no_agent_matches", nearMisses });
}

/** Without holders or without selectors nothing can hold: emptiness never means anybody. */
function failedSelectors(agent: AgentRegistration, holders: readonly ReadonlySet<string>[]): string[] {
  if (agent.selectors.length === 0) return ["(no selectors)"];
  if (holders.length === 0) return [...agent.selectors];
  return agent.selectors.filter((selector) => !holders.every((held) => held.has(selector)));
}
