// SPDX-License-Identifier: Apache-2.0
/** Which SPIFFE ID does a caller get, and which agent does a SPIFFE ID stand for? */
import type { ResourceOf } from "@postern/contract";
import { attestCaller } from "../attestation/process/attest-caller.ts";
import type { CallerFacts } from "../attestation/process/identify-caller.ts";
import { selectorsOf, selectorsWithHashOf, SHA256_SELECTOR } from "../attestation/process/selectors.ts";
import type { FederatedBundle } from "../attestation/spiffe/spiffe.ts";
import type { PublishedState } from "../governance/control-plane.ts";
import { isReserved, type SpiffeId } from "@postern/identity/spiffe-id";
import {
  fillTemplate,
  matchesTemplate,
  narrowTemplate,
  type SpiffeIdTemplate,
} from "@postern/identity/spiffe-id-template";
import type { Denial, Entitlement } from "../issuer/workload-api/workload-api.ts";
import { ok, refuse, type Result } from "../kernel/result.ts";
import { templateOf } from "../resources/check-spiffe-ids.ts";
import type { ResourceSet } from "../resources/resource-set.ts";

export interface StandingSource {
  readonly state: PublishedState;
  /** While nobody can tell whether the state is still right, nobody gets anything. */
  readonly isStale: boolean;
  readonly now: number;
  /** By name of the FederatedTrustDomain; absent where this server federates with nobody. */
  readonly federatedBundle?: FederatedBundle;
}

const denied = (reason: string): Result<Entitlement, Denial> => refuse({ kind: "not_entitled", reason });
const unknown = (reason: string): Result<Entitlement, Denial> => refuse({ kind: "unavailable", reason });

export async function entitlementOf(
  facts: CallerFacts,
  source: StandingSource,
): Promise<Result<Entitlement, Denial>> {
  if (!facts.stillHolds()) return denied("caller_changed");
  const { resources } = source.state;
  const registrations = resources
    .all("Agent")
    .filter(({ spec }) => resources.get("TrustProvider", spec.trustProvider)?.spec.kind === "process")
    .map((resource) => ({ name: resource.metadata.name, selectors: resource.spec.selectors, resource }));
  const matched = await attestCaller(facts, registrations);
  if (!matched.ok)
    return matched.reason.code === "caller_unreadable"
      ? unknown(matched.reason.code)
      : denied(matched.reason.code);
  return identityOf(matched.value.resource, (template) => selectorsFor(template, facts), source);
}

/** The identity of an agent that was matched, by the facts that it was matched by. */
export async function identityOf(
  resource: ResourceOf<"Agent">,
  provedFor: (template: SpiffeIdTemplate) => Promise<Result<ReadonlySet<string>, string>>,
  source: StandingSource,
): Promise<Result<Entitlement, Denial>> {
  const { name } = resource.metadata;
  if (source.isStale) return unknown("control_plane_unavailable");
  const problem = standingProblem(name, source);
  if (problem !== undefined) return denied(problem);
  const template = templateOf(resource);
  if (template?.ok !== true) return denied("agent_without_spiffe_id");
  const selectors = await provedFor(template.value);
  if (!selectors.ok) return unknown("caller_unreadable");
  const id = fillTemplate(template.value, selectors.value);
  if (!id.ok) return denied(`spiffe_id: ${id.reason}`);
  // A bundle that is not believed now is left out: nothing is verified by it, and the rest goes on.
  const federated = (resource.spec.federatesWith ?? []).flatMap((each) => {
    const bundle = source.federatedBundle?.(each);
    return bundle?.ok === true ? [bundle.value] : [];
  });
  return ok({ agent: name, id: id.value, federated });
}

/** A Unix connection has one process. Its executable is hashed only where the ID is made of that. */
async function selectorsFor(
  { segments }: SpiffeIdTemplate,
  { processes, run }: CallerFacts,
): Promise<Result<ReadonlySet<string>, string>> {
  const [process] = processes;
  if (process === undefined) return ok(new Set());
  const isHashed = segments.some(({ selector }) => selector === SHA256_SELECTOR);
  return isHashed ? selectorsWithHashOf(process, run) : ok(selectorsOf(process, run));
}

/** Why this agent may not pass at present; undefined where it may. */
function standingProblem(name: string, { state, now }: StandingSource): string | undefined {
  const expiresAt = state.resources.get("Agent", name)?.spec.expiresAt;
  if (state.cut.has(name)) return "agent_cut";
  return expiresAt !== undefined && now >= Date.parse(expiresAt) ? "agent_expired" : undefined;
}

/** The agent that this ID stands for, where it may pass: revoking an agent revokes what it holds. */
export function standingOf(id: SpiffeId, source: StandingSource): Result<string, string> {
  if (source.isStale) return refuse("control_plane_unavailable");
  if (isReserved(id)) return refuse("spiffe_id_of_server");
  const agents = templatesOf(source.state.resources).filter(({ template }) => matchesTemplate(template, id));
  const [agent, ...more] = agents;
  if (agent === undefined) return refuse("agent_unknown");
  // Agents that could come to the same ID are not accepted together; where they are there all the same, nobody passes.
  if (more.length > 0) return refuse("agent_ambiguous");
  const problem = standingProblem(agent.name, source);
  return problem === undefined ? ok(agent.name) : refuse(problem);
}

/** Facts that only a process inside a run has. */
const OF_RUNS = /^process:(agent|run|isolated)=/;

/**
 * The same for who comes in over the network. An agent of runs is what the kernel says of a process in a run: whoever
 * has its SVID outside, that fact does not hold for, so it goes through the gate of the run or not at all.
 */
export function remoteStandingOf(id: SpiffeId, source: StandingSource): Result<string, string> {
  const agent = standingOf(id, source);
  if (!agent.ok) return agent;
  const selectors = source.state.resources.get("Agent", agent.value)?.spec.selectors ?? [];
  return selectors.some((selector) => OF_RUNS.test(selector)) ? refuse("agent_of_runs") : agent;
}

interface OwnTemplate {
  readonly name: string;
  readonly template: SpiffeIdTemplate;
}

/** Read once for each state: remote agents are looked up by them. */
const templatesByState = new WeakMap<ResourceSet, readonly OwnTemplate[]>();

function templatesOf(resources: ResourceSet): readonly OwnTemplate[] {
  const known = templatesByState.get(resources);
  if (known !== undefined) return known;
  const templates = resources.all("Agent").flatMap((resource) => {
    const template = templateOf(resource);
    if (template?.ok !== true) return [];
    return [
      {
        name: resource.metadata.name,
        template: narrowTemplate(template.value, resource.spec.selectors),
      },
    ];
  });
  templatesByState.set(resources, templates);
  return templates;
}
