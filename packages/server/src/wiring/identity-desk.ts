// SPDX-License-Identifier: Apache-2.0
/** The issuer of the server's trust domain and everything around it: rotation in time, Workload API of the runs, log. */
import type {
  AuthoritiesResponse,
  CheckSvidRequest,
  CheckSvidResponse,
  IssuedIdentity,
  WantedIdentity,
} from "@postern/contract";
import type { PendingCaller, Run } from "../attestation/process/run.ts";
import type { FederatedBundles } from "../attestation/federation/federated-bundles.ts";
import { NodeSocket } from "../attestation/process/node-socket.ts";
import type { AuditEvent } from "../audit/event-frame.ts";
import { authorityEvent, type SvidInput, svidEvent } from "../audit/identity-events.ts";
import type { Config } from "../config/config.ts";
import type { PublishedState } from "../governance/control-plane.ts";
import { gatewayId, trustDomainProblem } from "@postern/identity/spiffe-id";
import { verifyJwtSvid } from "@postern/identity/jwt-svid";
import { printTrustBundle } from "@postern/identity/trust-bundle";
import { verifyX509Svid } from "@postern/identity/verify-x509-svid";
import { authorityName } from "../issuer/authority-life.ts";
import { type AuthorityVerb, Issuer } from "../issuer/issuer.ts";
import { parentAuthority, parentKeyFile } from "../issuer/parent-authority.ts";
import {
  type Denial,
  type Entitlement,
  WorkloadApi,
  type WorkloadPeer,
} from "../issuer/workload-api/workload-api.ts";
import type { Clock } from "../kernel/clock.ts";
import { newId } from "../kernel/ids.ts";
import { faultFields, type Log } from "../kernel/log.ts";
import { refuse, type Result } from "../kernel/result.ts";
import { ecdsaSigningKey } from "../keys/signing-keys.ts";
import { entitlementOf, remoteStandingOf, type StandingSource, standingOf } from "./agent-identity.ts";
import type { Entitled } from "./attest-desk.ts";
import {
  type BrokeredPeer,
  type BrokerEndpoint,
  type BrokerSettings,
  openBrokerEndpoint,
} from "./broker-endpoint.ts";
import { issueIdentity } from "./issue-identity.ts";
import { ContainerEngines, NodePeer } from "./node-workloads.ts";
import type { Storage } from "./open-storage.ts";
import type { OwnSvid } from "./own-svid.ts";
import type { SvidJudge } from "./remote-agents/remote-caller.ts";

export interface IdentityParts {
  readonly config: Pick<Config, "hasWitSvids" | "parentAuthority" | "trustDomain" | "svidLives">;
  readonly storage: Storage;
  readonly clock: Clock;
  readonly log: Log;
  audit(event: AuditEvent): Promise<void>;
  state(): PublishedState;
  isStale(): boolean;
  readonly federation: FederatedBundles;
  /** PEM of the local authority. */
  readonly interception: string;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g;

/** Rotation has days to happen in; a minute is often enough. */
const TEND_EVERY = 60_000;

export class IdentityDesk {
  readonly issuer: Issuer;
  readonly #parts: IdentityParts;
  readonly #api: WorkloadApi<RunPeer | NodePeer | BrokeredPeer>;
  readonly #engines: ContainerEngines;
  #nodeSocket: NodeSocket | undefined;
  #brokers: BrokerEndpoint | undefined;
  readonly #timer: NodeJS.Timeout;

  private constructor(parts: IdentityParts, issuer: Issuer) {
    this.#parts = parts;
    this.issuer = issuer;
    const { clock, log } = parts;
    this.#engines = new ContainerEngines(clock);
    this.#api = new WorkloadApi<RunPeer | NodePeer | BrokeredPeer>({
      issuer,
      wit: parts.config.hasWitSvids ? issuer : undefined,
      standingProblem: (id) => {
        const standing = standingOf(id, this.#source());
        return standing.ok ? undefined : standing.reason;
      },
      recordIssued: ({ broker, run, pid }, { agent, id }, issued) =>
        this.record({ change: "issue", broker, run, pid, agent, spiffeId: id.uri, ...issued }),
      recordRefused: ({ broker, run, pid }, document, reason) =>
        this.record({ change: "refuse", broker, run, pid, document, reasons: [reason] }),
      clock,
      log,
      chance: Math.random,
    });
    issuer.onChange(() => this.#api.pushAll());
    parts.federation.onChange(() => this.#api.reconsider());
    this.#timer = setInterval(() => {
      issuer.tend().catch((error: unknown) => {
        log.write("error", "authorities were not rotated", faultFields(error));
      });
    }, TEND_EVERY);
    this.#timer.unref();
  }

  /** Undefined where no trust domain is set: then no identities are issued. */
  static async open(parts: IdentityParts): Promise<IdentityDesk | undefined> {
    const { hasWitSvids, trustDomain, svidLives, parentAuthority: parent } = parts.config;
    if (trustDomain === undefined) return undefined;
    const problem = trustDomainProblem(trustDomain);
    if (problem !== undefined) throw new Error(`--trust-domain ${trustDomain}: ${problem}`);
    const { storage, clock, audit } = parts;
    const { store, keys } = storage;
    const issuer = await Issuer.open({
      trustDomain,
      lives: svidLives,
      hasWit: hasWitSvids,
      authorities: store.authorities,
      signingKey: (name) => ecdsaSigningKey(name, store.keys, keys.current),
      parent: parent && parentAuthority(parent.certificate, parentKeyFile(parent.key)),
      clock,
      audit: (change, authority, operatorUid) => {
        const time = clock.now();
        return audit(authorityEvent({ id: newId(time), time, change, authority, trustDomain, operatorUid }));
      },
    });
    return new IdentityDesk(parts, issuer);
  }

  /** Serves the Workload API on a socket of the run. */
  serve(run: Run): void {
    run.onWorkload((socket, pending) => {
      this.#api.accept(socket, new RunPeer(pending, () => this.#source()));
    });
  }

  /** Serves it on one socket for processes of this machine that no run was opened for. */
  async serveNode(path: string, isInRun: (pid: number) => boolean): Promise<void> {
    this.#nodeSocket = await NodeSocket.open({
      ...{ path, isInRun, log: this.#parts.log },
      onConnection: (socket, caller) =>
        this.#api.accept(socket, new NodePeer(caller, this.#engines, () => this.#source())),
    });
  }

  /** Serves the Broker API to those who may ask on behalf of such processes. */
  async serveBrokers(
    settings: BrokerSettings,
    own: OwnSvid,
    isInRun: (pid: number) => boolean,
  ): Promise<void> {
    this.#brokers = await openBrokerEndpoint(settings, {
      ...{ own, isInRun, answers: this.#api.answers, engines: this.#engines, log: this.#parts.log },
      ...{ judge: () => this.judge(), source: () => this.#source(), record: this.record },
    });
  }

  /** Agents were changed. */
  reconsider(): void {
    this.#api.reconsider();
  }

  /** For an agent whose evidence was believed. */
  async issueFor(entitled: Entitled, want: WantedIdentity): Promise<IssuedIdentity> {
    const issued = await issueIdentity(this.issuer, entitled, want, this.record);
    return { ...issued, interception: this.#parts.interception };
  }

  /** What remote callers are judged by, now. */
  judge(): SvidJudge {
    const source = this.#source();
    return {
      now: source.now,
      bundle: this.issuer.bundle,
      audience: gatewayId(this.issuer.trustDomain).uri,
      standingOf: (id) => remoteStandingOf(id, source),
    };
  }

  authorities(): AuthoritiesResponse {
    const { authorities, trustDomain } = this.issuer;
    const shown = (time: number) => new Date(time).toISOString();
    return {
      trustDomain,
      authorities: authorities.map(({ kind, generation, state, notBefore, notAfter, changedAt }) => ({
        ...{ name: authorityName({ kind, generation }), kind, state },
        ...{ notBefore: shown(notBefore), notAfter: shown(notAfter), changedAt: shown(changedAt) },
      })),
    };
  }

  changeAuthority(
    request: AuthorityVerb,
    { uid }: { readonly uid: number },
  ): Promise<Result<string, string>> {
    return this.issuer.change(request, uid);
  }

  trustBundle(): string {
    return printTrustBundle(this.issuer.bundle, "everything");
  }

  /** What our own door says of an SVID, and why. */
  checkSvid({ svid, audience }: CheckSvidRequest): CheckSvidResponse {
    const { trustDomain, bundle } = this.issuer;
    const now = this.#parts.clock.now();
    const bundleOf = (name: string) => (name === trustDomain ? bundle : undefined);
    const chain = [...svid.matchAll(CERTIFICATE)].map(([, text = ""]) => Buffer.from(text, "base64"));
    if (chain.length === 0 && audience === undefined)
      return { outcome: "refused", reason: "a token is for an audience: say which one" };
    const verified =
      chain.length > 0
        ? verifyX509Svid(chain, bundleOf, now)
        : verifyJwtSvid(svid, audience ?? "", bundleOf, now);
    if (!verified.ok) return { outcome: "refused", reason: verified.reason };
    const { id, expiresAt } = verified.value;
    const known = { spiffeId: id.uri, expiresAt: new Date(expiresAt).toISOString() };
    const standing = standingOf(id, this.#source());
    return standing.ok
      ? { outcome: "accepted", agent: standing.value, ...known }
      : { outcome: "refused", reason: standing.reason, ...known };
  }

  close(): void {
    clearInterval(this.#timer);
    this.#nodeSocket?.close();
    this.#brokers?.close();
    this.#api.close();
  }

  #source(): StandingSource {
    const { state, isStale, clock } = this.#parts;
    const { federation } = this.#parts;
    return {
      ...{ state: state(), isStale: isStale(), now: clock.now() },
      federatedBundle: (name) => federation.get(name),
    };
  }

  readonly record = (input: Omit<SvidInput, "id" | "time">): Promise<void> => {
    const time = this.#parts.clock.now();
    return this.#parts.audit(svidEvent({ id: newId(time), time, ...input }));
  };
}

class RunPeer implements WorkloadPeer {
  readonly run: string;
  readonly broker = undefined;
  /** Known once it was identified. */
  pid: number | undefined;
  readonly #pending: PendingCaller;
  readonly #source: () => StandingSource;

  constructor(pending: PendingCaller, source: () => StandingSource) {
    this.run = pending.run.id;
    this.#pending = pending;
    this.#source = source;
  }

  async identify(): Promise<Result<Entitlement, Denial>> {
    const facts = await this.#pending.identify();
    if (!facts.ok) return refuse({ kind: "not_entitled", reason: facts.reason });
    this.pid = facts.value.processes[0]?.pid;
    return entitlementOf(facts.value, this.#source());
  }
}
