// SPDX-License-Identifier: Apache-2.0
/**
 * Who may ask for identities of other processes, and of which ones? (SPIFFE Broker Endpoint §5)
 *
 * A Unix socket with TLS in it: the server shows its own SVID, and a broker one of the trust domain whose ID an operator has
 * named. Everything that a workload outside of runs would be told, a broker is told for it, with three exceptions: the
 * first process of the machine, this server, and other brokers are nobody's to act for.
 */
import { constants } from "node:crypto";
import type { Socket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";
import type { TrustBundle } from "@postern/identity/trust-bundle";
import { verifyX509Svid, type VerifiedX509Svid } from "@postern/identity/verify-x509-svid";
import { ExecutableHashes } from "../attestation/process/hash-executable.ts";
import { type CallerFacts, identifyNamedProcess } from "../attestation/process/identify-caller.ts";
import { type NodeCaller, NodeSocket } from "../attestation/process/node-socket.ts";
import type { OwnCertificate } from "../gateway/ports.ts";
import { chainOf } from "../gateway/upstream-identity.ts";
import {
  type Broker,
  BrokerApi,
  type BrokerProblem,
  type NamedWorkload,
} from "../issuer/workload-api/broker-api.ts";
import type { Answers, Denial, Entitlement } from "../issuer/workload-api/workload-api.ts";
import { faultFields, type Log } from "../kernel/log.ts";
import { ok, refuse, type Result } from "../kernel/result.ts";
import type { StandingSource } from "./agent-identity.ts";
import type { RecordSvid } from "./issue-identity.ts";
import { type ContainerEngines, nodeEntitlement } from "./node-workloads.ts";
import type { OwnSvid } from "./own-svid.ts";
import type { SvidJudge } from "./remote-agents/remote-caller.ts";

export interface BrokerSettings {
  readonly path: string;
  /** SPIFFE IDs of those who may, at least one. */
  readonly ids: readonly string[];
}

export interface BrokerParts {
  readonly own: Pick<OwnSvid, "own" | "onChange">;
  readonly answers: Answers<BrokeredPeer>;
  readonly engines: ContainerEngines;
  readonly log: Log;
  isInRun(pid: number): boolean;
  judge(): SvidJudge;
  source(): StandingSource;
  readonly record: RecordSvid;
}

export interface BrokerEndpoint {
  close(): void;
}

const HANDSHAKE_TIMEOUT = 10_000;
const FIRST_PROCESS = 1;

export async function openBrokerEndpoint(
  settings: BrokerSettings,
  parts: BrokerParts,
): Promise<BrokerEndpoint> {
  const { log, own, isInRun } = parts;
  let context = contextOf(await own.own());
  own.onChange((certificate) => (context = contextOf(certificate)));
  const api = new BrokerApi(parts.answers, log);
  const hashes = new ExecutableHashes();
  const ids = new Set(settings.ids);
  const take = async (socket: Socket, caller: NodeCaller): Promise<void> => {
    const process = await caller.identify();
    const pid = process.ok ? process.value.processes[0]?.pid : undefined;
    const secure = await secured(socket, context);
    const broker = new BrokerPeer(chainOf(secure), ids, hashes, parts);
    const problem = process.ok ? broker.problem() : { kind: "refused", reason: process.reason };
    const mayComeIn = problem === undefined || problem.kind === "unavailable";
    // Of a handshake that was resumed nobody would have proved anything; never so with these settings.
    if (mayComeIn && !secure.isSessionReused()) return api.accept(secure, broker);
    secure.destroy();
    const reasons = [`broker: ${problem?.reason ?? "handshake_resumed"}`];
    await parts.record({ change: "refuse", document: "X.509-SVID", broker: broker.id, pid, reasons });
  };
  const socket = await NodeSocket.open({
    ...{ path: settings.path, log, isInRun },
    onConnection: (each, caller) => {
      take(each, caller).catch((error: unknown) => {
        each.destroy();
        log.write("warn", "a connection of a broker was not taken", faultFields(error));
      });
    },
  });
  return {
    close: () => {
      socket.close();
      api.close();
    },
  };
}

/** Resolves when the handshake is done; whose certificate it was is not judged yet. */
function secured(socket: Socket, secureContext: ReturnType<typeof createSecureContext>): Promise<TLSSocket> {
  const secure = new TLSSocket(socket, {
    ...{ isServer: true, secureContext, ALPNProtocols: ["h2"] },
    // Asked for, and judged by our own verifier: what OpenSSL thinks of a chain says nothing about SPIFFE IDs.
    ...{ requestCert: true, rejectUnauthorized: false },
  });
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const late = setTimeout(() => secure.destroy(), HANDSHAKE_TIMEOUT);
  secure.once("secure", () => resolve(secure));
  secure.on("error", reject);
  secure.once("close", () => reject(new Error("closed before the handshake was done")));
  return promise.finally(() => clearTimeout(late));
}

const contextOf = ({ certificate, privateKey }: OwnCertificate) =>
  createSecureContext({
    cert: certificate,
    key: privateKey,
    minVersion: "TLSv1.2",
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  });

class BrokerPeer implements Broker<BrokeredPeer> {
  readonly #chain: readonly Buffer[];
  readonly #ids: ReadonlySet<string>;
  readonly #hashes: ExecutableHashes;
  readonly #parts: BrokerParts;
  #last: (VerifiedX509Svid & { readonly bundle: TrustBundle }) | undefined;

  constructor(
    chain: readonly Buffer[],
    ids: ReadonlySet<string>,
    hashes: ExecutableHashes,
    parts: BrokerParts,
  ) {
    this.#chain = chain;
    this.#ids = ids;
    this.#hashes = hashes;
    this.#parts = parts;
  }

  /** Undefined where none was ever proved. */
  get id(): string | undefined {
    return this.#last?.id.uri;
  }

  problem(): BrokerProblem | undefined {
    const judge = this.#parts.judge();
    const { bundle, now } = judge;
    if (this.#last?.bundle !== bundle || now >= this.#last.expiresAt) {
      const bundleOf = (name: string) => (name === bundle.trustDomain ? bundle : undefined);
      const svid = verifyX509Svid(this.#chain, bundleOf, now);
      if (!svid.ok) return { kind: "unproved", reason: svid.reason };
      this.#last = { ...svid.value, bundle };
    }
    if (!this.isBroker(this.#last.id.uri)) return { kind: "refused", reason: "not_a_broker" };
    const standing = judge.standingOf(this.#last.id);
    if (standing.ok) return undefined;
    return { kind: this.#parts.source().isStale ? "unavailable" : "refused", reason: standing.reason };
  }

  isBroker(spiffeId: string): boolean {
    return this.#ids.has(spiffeId);
  }

  workload(pid: number): BrokeredPeer {
    return new BrokeredPeer(this, pid, this.#hashes, this.#parts);
  }
}

/** A process that a broker has named. */
export class BrokeredPeer implements NamedWorkload {
  readonly run = undefined;
  readonly pid: number;
  readonly #broker: BrokerPeer;
  readonly #hashes: ExecutableHashes;
  readonly #parts: BrokerParts;
  #facts: CallerFacts | undefined;

  constructor(broker: BrokerPeer, pid: number, hashes: ExecutableHashes, parts: BrokerParts) {
    this.#broker = broker;
    this.pid = pid;
    this.#hashes = hashes;
    this.#parts = parts;
  }

  get broker(): string | undefined {
    return this.#broker.id;
  }

  get isGone(): boolean {
    return this.#facts?.stillHolds() === false;
  }

  async identify(): Promise<Result<Entitlement, Denial>> {
    const found = await this.#find();
    if (!found.ok) return found;
    const { engines, source } = this.#parts;
    const entitled = await nodeEntitlement(found.value, engines, source);
    // Last: what holds is what holds when the answer is given.
    const problem = this.#broker.problem();
    if (problem !== undefined)
      return refuse({
        kind: problem.kind === "refused" ? "not_entitled" : "unavailable",
        reason: `broker: ${problem.reason}`,
      });
    if (this.isGone) return refuse({ kind: "gone", reason: "the process has ended" });
    return entitled.ok && this.#broker.isBroker(entitled.value.id.uri)
      ? refuse({ kind: "not_entitled", reason: "a broker is nobody's to act for" })
      : entitled;
  }

  /** Once: the number may be another process's by the next time. */
  async #find(): Promise<Result<CallerFacts, Denial>> {
    if (this.#facts !== undefined) return ok(this.#facts);
    const strangerProblem = (pid: number): string | undefined => {
      if (pid === FIRST_PROCESS || pid === process.pid) return "this process is nobody's to act for";
      return this.#parts.isInRun(pid)
        ? "the process belongs to a run, which has a Workload API of its own"
        : undefined;
    };
    const bounds = { run: undefined, hashes: this.#hashes, strangerProblem };
    const found = await identifyNamedProcess(bounds, this.pid, `broker:${this.broker}`);
    if (found.ok) this.#facts = found.value;
    else {
      const { isGone, reason } = found.reason;
      return refuse({ kind: isGone ? "gone" : "not_entitled", reason });
    }
    return found;
  }
}
