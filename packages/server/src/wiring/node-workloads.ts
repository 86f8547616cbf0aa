// SPDX-License-Identifier: Apache-2.0
/**
 * Which identity does a local process get that no run was opened for?
 *
 * A process in the server's own process namespace is attested by what the kernel says of it (`process`), one in a
 * container by what its engine says (`docker`, `podman`); each agent by evidence of its own trust provider only.
 */
import type { ContainerEngineKind, ResourceOf, SigstoreSpec } from "@postern/contract";
import { attestContainer, mayKnow } from "../attestation/container/attest-container.ts";
import { ContainerEngine } from "../attestation/container/container-engine.ts";
import { containerOf } from "../attestation/container/container-of.ts";
import { matchAgent } from "../attestation/match-agent.ts";
import type { CallerFacts, ProcessFacts } from "../attestation/process/identify-caller.ts";
import type { NodeCaller } from "../attestation/process/node-socket.ts";
import { type ProcessView, processView } from "../attestation/process/process-view.ts";
import { selectorsOf, selectorsWithHashOf, SHA256_SELECTOR } from "../attestation/process/selectors.ts";
import { ImageSignatures } from "../attestation/sigstore/image-signatures.ts";
import { factSelectors } from "../attestation/attest-evidence.ts";
import type { Denial, Entitlement, WorkloadPeer } from "../issuer/workload-api/workload-api.ts";
import type { Clock } from "../kernel/clock.ts";
import { ok, refuse, type Result } from "../kernel/result.ts";
import { type StandingSource, identityOf } from "./agent-identity.ts";

type Agent = ResourceOf<"Agent">;
type ContainerProvider = ResourceOf<"TrustProvider"> & {
  readonly spec: {
    readonly kind: ContainerEngineKind;
    readonly engineSocket: string;
    readonly sigstore?: SigstoreSpec | undefined;
  };
};
/** Name of a trust provider → what its evidence proves. */
type Evidence = ReadonlyMap<string, ReadonlySet<string>>;

/** What signatures of images left open. */
interface Doubts {
  readonly notes: string[];
  isIncomplete: boolean;
}

const denied = (reason: string): Result<never, Denial> => refuse({ kind: "not_entitled", reason });
const unknown = (reason: string): Result<never, Denial> => refuse({ kind: "unavailable", reason });

/** One for each socket and for each trust provider, so that questions of many callers become one. */
export class ContainerEngines {
  readonly #engines = new Map<string, ContainerEngine>();
  readonly #signatures = new Map<string, { readonly spec: string; readonly signatures: ImageSignatures }>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  at(socket: string): ContainerEngine {
    const engine = this.#engines.get(socket) ?? new ContainerEngine(socket);
    this.#engines.set(socket, engine);
    return engine;
  }

  /** What was learnt lasts until the settings change. */
  signaturesFor(provider: string, sigstore: SigstoreSpec): ImageSignatures {
    const spec = JSON.stringify(sigstore);
    const known = this.#signatures.get(provider);
    if (known?.spec === spec) return known.signatures;
    const signatures = new ImageSignatures(sigstore, this.#clock);
    this.#signatures.set(provider, { spec, signatures });
    return signatures;
  }
}

export class NodePeer implements WorkloadPeer {
  readonly run = undefined;
  readonly broker = undefined;
  /** Known once it was identified. */
  pid: number | undefined;
  readonly #caller: NodeCaller;
  readonly #engines: ContainerEngines;
  readonly #source: () => StandingSource;

  constructor(caller: NodeCaller, engines: ContainerEngines, source: () => StandingSource) {
    this.#caller = caller;
    this.#engines = engines;
    this.#source = source;
  }

  async identify(): Promise<Result<Entitlement, Denial>> {
    const facts = await this.#caller.identify();
    if (!facts.ok) return denied(facts.reason);
    this.pid = facts.value.processes[0]?.pid;
    return nodeEntitlement(facts.value, this.#engines, this.#source);
  }
}

/** `source` is asked last: an engine takes its time, and what holds is what holds when the answer is given. */
export async function nodeEntitlement(
  facts: CallerFacts,
  engines: ContainerEngines,
  source: () => StandingSource,
  view: ProcessView = processView,
): Promise<Result<Entitlement, Denial>> {
  const [process] = facts.processes;
  if (process === undefined || !facts.stillHolds()) return denied("caller_changed");
  const doubts: Doubts = { notes: [], isIncomplete: false };
  const evidence = await evidenceOf(process, engines, source(), view, doubts);
  if (!evidence.ok) return evidence;
  if (!facts.stillHolds()) return denied("caller_changed");
  const now = source();
  const agents = agentsOf(now, evidence.value);
  const matched = matchAgent([tagged(evidence.value)], agents);
  if (!matched.ok) {
    const reason = [matched.reason.code, ...doubts.notes].join(": ");
    // A registry that cannot be asked may be why nobody matched.
    return doubts.isIncomplete && matched.reason.code === "no_agent_matches"
      ? unknown(reason)
      : denied(reason);
  }
  const { resource } = matched.value;
  return identityOf(resource, async () => ok(evidence.value.get(resource.spec.trustProvider)!), now);
}

async function evidenceOf(
  process: ProcessFacts,
  engines: ContainerEngines,
  source: StandingSource,
  view: ProcessView,
  doubts: Doubts,
): Promise<Result<Evidence, Denial>> {
  const evidence = new Map<string, ReadonlySet<string>>();
  const groups = view.cgroups(process.pid);
  const namespace = view.pidNamespace(process.pid);
  if (groups === undefined || namespace === undefined) return unknown("caller_unreadable");
  const container = containerOf(groups);
  if (!container.ok) return denied(container.reason);
  if (namespace === view.pidNamespace("self")) {
    const proved = await processEvidence(process, source);
    if (!proved.ok) return proved;
    for (const [name, selectors] of proved.value) evidence.set(name, selectors);
  } else if (container.value === undefined) return denied("caller_in_another_process_namespace");
  for (const { metadata, spec } of container.value === undefined ? [] : containerProviders(source)) {
    if (!mayKnow(spec.kind, container.value!)) continue;
    const engine = engines.at(spec.engineSocket);
    const { pid, uid, gid } = process;
    // Few providers, mostly one; each is a question to another engine.
    // eslint-disable-next-line no-await-in-loop
    const attested = await attestContainer(engine, { pid, uid, gid, groups: container.value! }, view);
    if (attested.ok) {
      const selectors = factSelectors(spec.kind, attested.value.facts);
      if (spec.sigstore !== undefined && isSigstoreAsked(metadata.name, source)) {
        // eslint-disable-next-line no-await-in-loop
        const found = await engines
          .signaturesFor(metadata.name, spec.sigstore)
          .factsOf([attested.value.imageNames]);
        for (const selector of factSelectors("sigstore", found.facts)) selectors.add(selector);
        doubts.notes.push(...found.notes);
        doubts.isIncomplete ||= found.isIncomplete;
      }
      evidence.set(metadata.name, selectors);
    }
    // With an engine that is silent nobody can tell whether the caller is one agent or two.
    else if (attested.reason.outcome === "unavailable") return unknown(attested.reason.reason);
    else if (attested.reason.reason !== "container_unknown") return denied(attested.reason.reason);
  }
  return ok(evidence);
}

/** A registry is asked only where an agent of the trust provider depends on what it says. */
const isSigstoreAsked = (provider: string, { state: { resources } }: StandingSource): boolean =>
  resources
    .all("Agent")
    .some(
      ({ spec }) =>
        spec.trustProvider === provider &&
        (spec.selectors.some((each) => each.startsWith("sigstore:")) ||
          spec.spiffeId?.includes("{sigstore.") === true),
    );

/** Executables are hashed only where an agent asks for a hash. */
async function processEvidence(
  process: ProcessFacts,
  { state: { resources } }: StandingSource,
): Promise<Result<Evidence, Denial>> {
  const providers = resources.all("TrustProvider").filter(({ spec }) => spec.kind === "process");
  const names = new Set(providers.map(({ metadata }) => metadata.name));
  const isHashed = resources
    .all("Agent")
    .some(
      ({ spec }) =>
        names.has(spec.trustProvider) &&
        [...spec.selectors, spec.spiffeId?.replaceAll("process.sha256", SHA256_SELECTOR) ?? ""].some((text) =>
          text.includes(SHA256_SELECTOR),
        ),
    );
  const selectors = isHashed
    ? await selectorsWithHashOf(process, undefined)
    : ok(selectorsOf(process, undefined));
  if (!selectors.ok) return unknown("caller_unreadable");
  return ok(new Map([...names].map((name) => [name, selectors.value])));
}

const containerProviders = ({ state }: StandingSource): ContainerProvider[] =>
  state.resources
    .all("TrustProvider")
    .filter(({ spec }) => spec.kind === "docker" || spec.kind === "podman") as ContainerProvider[];

/** The provider stands before each selector: two of one kind may say the same words about different things. */
const tag = (provider: string, selector: string): string => `${provider} ${selector}`;

const tagged = (evidence: Evidence): Set<string> =>
  new Set([...evidence].flatMap(([name, selectors]) => [...selectors].map((each) => tag(name, each))));

const agentsOf = ({ state }: StandingSource, evidence: Evidence) =>
  state.resources
    .all("Agent")
    .filter(({ spec }) => evidence.has(spec.trustProvider))
    .map((resource: Agent) => ({
      name: resource.metadata.name,
      selectors: resource.spec.selectors.map((each) => tag(resource.spec.trustProvider, each)),
      resource,
    }));
