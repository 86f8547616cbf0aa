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
 * How long, in milliseconds, a process is taken for what it was: reading it costs a dozen system calls. A process
 * that turns into another program could as well have made that program's call just before.
 */
const RECHECK = 100;

/** One answer per connection and epoch: a changed agent is matched again, the process is not read again. */
function callerOf(pending: PendingCaller, resources: () => ResourceSet): Caller {
  let known:
    { readonly epoch: number; readonly answer: Promise<Identified>; settled?: Identified } | undefined;
  return {
    run: pending.run.id,
    origin: pending.run.id,
    isolated: pending.run.isolated,
    identify: (epoch) => {
      if (known?.epoch !== epoch) {
        const asked: typeof known = { epoch, answer: identify(pending, resources()) };
        known = asked;
        asked.answer.then(
          (answer) => (asked.settled = answer),
          () => {},
        );
      }
      return known.settled === undefined ? known.answer.then(checked) : checked(known.settled);
    },
  };
}

interface Found {
  readonly caller: IdentifiedCaller;
  /** Whether the processes are still what they were. */
  stillHolds(): boolean;
  checkedAt: number;
}

type Identified = Result<Found, string>;

function checked(found: Identified): Result<IdentifiedCaller, string> {
  if (!found.ok) return found;
  const now = performance.now();
  if (now - found.value.checkedAt < RECHECK) return ok(found.value.caller);
  if (!found.value.stillHolds()) return refuse("caller_changed");
  found.value.checkedAt = now;
  return ok(found.value.caller);
}

async function identify(pending: PendingCaller, resources: ResourceSet): Promise<Identified> {
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
  const caller = {
    agent: agent.value.name,
    run: pending.run.id,
    isolated: pending.run.isolated,
    selectors: [...selectorsOf(first, facts.value.run)],
    process: { pid: first.pid, path: first.path },
  };
  return ok({ caller, stillHolds: () => facts.value.stillHolds(), checkedAt: -Infinity });
}
