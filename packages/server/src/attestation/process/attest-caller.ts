// SPDX-License-Identifier: Apache-2.0
/** From the facts about a caller to its agent: hashes executables only where an agent asks for a hash. */
import { refuse, type Result } from "../../kernel/result.ts";
import type { CallerFacts } from "./identify-caller.ts";
import { matchAgent, type AgentRegistration, type MatchRefusal } from "../match-agent.ts";
import { selectorsOf, selectorsWithHashOf, SHA256_SELECTOR } from "./selectors.ts";

export async function attestCaller<Agent extends AgentRegistration>(
  caller: CallerFacts,
  agents: readonly Agent[],
): Promise<Result<Agent, MatchRefusal | { readonly code: "caller_unreadable"; readonly detail: string }>> {
  const needHash = agents.some(({ selectors }) =>
    selectors.some((selector) => selector.startsWith(SHA256_SELECTOR)),
  );
  const holders: Set<string>[] = [];
  for (const process of caller.processes) {
    if (!needHash) {
      holders.push(selectorsOf(process, caller.run));
      continue;
    }
    // Holders are few, mostly one, and mostly run the same file.
    // eslint-disable-next-line no-await-in-loop
    const selectors = await selectorsWithHashOf(process, caller.run);
    if (!selectors.ok) return refuse({ code: "caller_unreadable", detail: selectors.reason });
    holders.push(selectors.value);
  }
  return matchAgent(holders, agents, caller.run?.agent);
}
