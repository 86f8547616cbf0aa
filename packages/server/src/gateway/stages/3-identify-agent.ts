// SPDX-License-Identifier: Apache-2.0
/** Stage 3: which agent is this? The kernel says which process it is, or an SVID which workload; the snapshot whether it may pass. */
import type { Clock } from "../../kernel/clock.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { HeaderList } from "../http/messages.ts";
import type { Caller, IdentifiedCaller, Snapshot } from "../ports.ts";
import { type Refusal, refusal } from "./refusal.ts";

/** At once where the caller is known. */
export function identifyAgent(
  caller: Caller,
  snapshot: Snapshot,
  clock: Clock,
  headers?: HeaderList,
): Result<IdentifiedCaller, Refusal> | Promise<Result<IdentifiedCaller, Refusal>> {
  const identified = caller.identify(snapshot.epoch, headers);
  return identified instanceof Promise
    ? identified.then((answer) => agentOf(answer, snapshot, clock))
    : agentOf(identified, snapshot, clock);
}

function agentOf(
  identified: Result<IdentifiedCaller, string>,
  snapshot: Snapshot,
  clock: Clock,
): Result<IdentifiedCaller, Refusal> {
  // Before identity is known the answer is one and the same; the reason goes to the audit log only.
  if (!identified.ok)
    return refuse(
      refusal("agent_unidentified", "the caller is not an agent that this gateway knows", [
        identified.reason,
      ]),
    );
  const standing = checkStanding(identified.value.agent, snapshot, clock);
  return standing.ok ? ok(identified.value) : standing;
}

/** Whether the agent may pass at all, now; asked again while an answer streams. */
export function checkStanding(name: string, snapshot: Snapshot, clock: Clock): Result<undefined, Refusal> {
  const agent = snapshot.agents.get(name);
  if (agent === undefined) return refuse(refusal("agent_unidentified", "the agent is no longer registered"));
  if (snapshot.isStale?.() === true)
    return refuse(
      refusal("control_plane_unavailable", "the gateway has had no word from its database for too long"),
    );
  if (agent.isCut) return refuse(refusal("agent_quarantined", `agent ${agent.name} is cut off`));
  if (agent.expiresAt !== undefined && clock.now() >= agent.expiresAt)
    return refuse(refusal("agent_quarantined", `agent ${agent.name} has expired`, ["agent_expired"]));
  return ok(undefined);
}
