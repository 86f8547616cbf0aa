// SPDX-License-Identifier: Apache-2.0
/** Hands the connections of runs to the gateway, with the agent that attestation makes of their process. */
import type { Socket } from "node:net";
import { attestCaller } from "../attestation/process/attest-caller.ts";
import type { PendingCaller, Run } from "../attestation/process/run.ts";
import { selectorsOf } from "../attestation/process/selectors.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { Caller, IdentifiedCaller } from "../gateway/ports.ts";
import { type Result, ok, refuse } from "../kernel/result.ts";
import type { ResourceSet } from "../resources/resource-set.ts";

/** `Host` values of clients that speak HTTP over the Unix socket, which has no address. */
const DOOR_AUTHORITIES = ["localhost", "localhost:80", "127.0.0.1", "127.0.0.1:80", "postern"];

export function serveRun(run: Run, gateway: Gateway, resources: () => ResourceSet): void {
  run.onConnection((socket, pending) => {
    gateway.accept(socket, callerOf(pending, resources), authoritiesOf(socket));
    socket.resume();
  });
}

function authoritiesOf({ localPort }: Socket): readonly string[] {
  return localPort === undefined ? DOOR_AUTHORITIES : [`127.0.0.1:${localPort}`, `localhost:${localPort}`];
}

/**
 * How long a process is taken for what it was: reading it costs a dozen system calls. A process that turns
 * into another program could as well have made that program's call just before.
 */
const RECHECK_MS = 100;

/** One answer per connection and epoch: a changed agent is matched again, the process is not read again. */
function callerOf(pending: PendingCaller, resources: () => ResourceSet): Caller {
  let known: { epoch: number; answer: Promise<Result<IdentifiedCaller, string>> } | undefined;
  let checkedAt = -Infinity;
  return {
    run: pending.run.id,
    isolated: pending.run.isolated,
    identify: async (epoch) => {
      if (known?.epoch !== epoch) known = { epoch, answer: identify(pending, resources()) };
      const answer = await known.answer;
      if (!answer.ok || performance.now() - checkedAt < RECHECK_MS) return answer;
      const facts = await pending.identify();
      if (facts.ok && !facts.value.stillHolds()) return refuse("caller_changed");
      checkedAt = performance.now();
      return answer;
    },
  };
}

async function identify(
  pending: PendingCaller,
  resources: ResourceSet,
): Promise<Result<IdentifiedCaller, string>> {
  const facts = await pending.identify();
  if (!facts.ok) return facts;
  const agents = resources
    .all("Agent")
    .filter(({ spec }) => resources.get("TrustProvider", spec.trustProvider)?.spec.kind === "process")
    .map(({ metadata, spec }) => ({ name: metadata.name, selectors: spec.selectors }));
  const agent = await attestCaller(facts.value, agents);
  if (!agent.ok) return refuse(agent.reason.code);
  const [first] = facts.value.processes;
  if (first === undefined) return refuse("no_process");
  return ok({
    agent: agent.value.name,
    run: pending.run.id,
    isolated: pending.run.isolated,
    selectors: [...selectorsOf(first, facts.value.run)],
    process: { pid: first.pid, path: first.path },
  });
}
