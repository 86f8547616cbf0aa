// SPDX-License-Identifier: Apache-2.0
/** The gate: takes connections of runs, speaks HTTP with them, and passes each request through the stages. */
import type { Duplex } from "node:stream";
import { FairTurns } from "../kernel/fair-turns.ts";
import { newId } from "../kernel/ids.ts";
import { InboundCodec } from "./http/inbound.ts";
import type { ConnectRequest, InboundLimits } from "./http/inbound-connection.ts";
import type { Exchange } from "./http/messages.ts";
import type { OutboundLimits } from "./http/outbound.ts";
import { type BodyLimits, BodyMemory, DEFAULT_BODY_LIMITS } from "./body-memory.ts";
import { Interception } from "./interception.ts";
import { OpenExchanges } from "./open-exchanges.ts";
import { type GatewayParts, passRequest } from "./pass-request.ts";
import type { Caller, DecisionRecord, InterceptionAuthority, UpstreamIdentity } from "./ports.ts";
import { endWithRefusal } from "./refuse.ts";
import { headerValues } from "./stages/1-read-request.ts";
import { parseAuthority } from "./stages/2-canonicalize.ts";
import { identifyAgent } from "./stages/3-identify-agent.ts";
import { durably, NOT_DURABLE, recordDecision } from "./stages/6-record-decision.ts";
import { UpstreamConnections } from "./stages/9-connect-upstream.ts";
import { Outcome } from "./stages/13-record-outcome.ts";
import { type Refusal, refusal } from "./stages/refusal.ts";
import { withoutSecrets } from "./stages/without-secrets.ts";

export const DEFAULT_INBOUND_LIMITS: InboundLimits = {
  headerBytes: 65_536,
  headersTimeout: 30_000,
  requestTimeout: 600_000,
  idleTimeout: 75_000,
};

/** Requests and pieces of answers that are begun in one turn of the event loop: a few milliseconds of work. */
const PER_TURN = 16;

/** Whether it has taken the request. */
export type OwnEndpoints = (exchange: Exchange) => boolean;

export class Gateway {
  readonly #parts: GatewayParts;
  readonly #interception: Interception;
  readonly #codec: InboundCodec;
  readonly #callers = new WeakMap<Duplex, Caller>();
  readonly #ownEndpoints = new WeakMap<Duplex, OwnEndpoints>();

  constructor(
    parts: Omit<GatewayParts, "upstreams" | "openExchanges" | "bodyMemory" | "turns"> & {
      readonly upstreamLimits?: OutboundLimits;
      readonly upstreamIdentity?: UpstreamIdentity | undefined;
    },
    authority: InterceptionAuthority,
    limits: InboundLimits = DEFAULT_INBOUND_LIMITS,
    bodyLimits: BodyLimits = DEFAULT_BODY_LIMITS,
  ) {
    this.#parts = {
      ...parts,
      upstreams: new UpstreamConnections(parts.upstreamLimits, parts.upstreamIdentity),
      openExchanges: new OpenExchanges(),
      bodyMemory: new BodyMemory(bodyLimits),
      turns: new FairTurns(PER_TURN),
    };
    this.#interception = new Interception(authority, parts.clock);
    this.#codec = new InboundCodec(limits, {
      exchange: (exchange, socket) => {
        const caller = this.#callers.get(socket);
        if (caller === undefined) return exchange.destroy();
        if (this.#ownEndpoints.get(socket)?.(exchange) === true) return;
        const turn = this.#parts.turns.take(caller.origin);
        if (turn === undefined) return void passRequest(exchange, caller, this.#parts);
        void turn.then(() => {
          // Who has gone while it waited gets no answer, and nothing leaves in its name.
          if (!exchange.gone.isOver) void passRequest(exchange, caller, this.#parts);
        });
      },
      connect: (request, socket, head) => void this.#connect(request, socket, head),
      malformed: (detail, socket) => this.#malformed(detail, socket),
    });
  }

  /**
   * Serves a connection. `authorities` are the `Host` values that mean the gateway itself; `own` is asked first, and
   * answers what is no request for an upstream.
   */
  accept(socket: Duplex, caller: Caller, authorities: readonly string[], own?: OwnEndpoints): void {
    this.#callers.set(socket, caller);
    if (own !== undefined) this.#ownEndpoints.set(socket, own);
    this.#codec.accept(socket, { kind: "door", authorities });
  }

  /** Ends everything the agent has open now; returns how many exchanges that were. */
  cut(agent: string): number {
    this.#parts.upstreams.closeFor(agent);
    return this.#parts.openExchanges.cutAll(agent);
  }

  /** Requests of identified agents that are not over. */
  get openExchanges(): number {
    return this.#parts.openExchanges.total;
  }

  close(): void {
    this.#codec.close();
    this.#parts.upstreams.closeAll();
  }

  async #connect(request: ConnectRequest, socket: Duplex, head: Buffer): Promise<void> {
    const caller = this.#callers.get(socket);
    if (caller === undefined) return void socket.destroy();
    const opened = await this.#checkConnect(request, caller);
    if ("code" in opened) return this.#refuseConnect(opened, request, caller, socket);
    socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
    if (head.length > 0) socket.unshift(head);
    try {
      const { socket: secure, serverName } = await this.#interception.terminate(socket, opened.host);
      this.#callers.set(secure, caller.inTunnel?.(request.headers) ?? caller);
      this.#codec.accept(secure, { kind: "tunnel", host: opened.host, port: opened.port, serverName });
    } catch {
      socket.destroy();
    }
  }

  /** A tunnel is opened only to a registered server workload, and only for a known agent. */
  async #checkConnect(
    request: ConnectRequest,
    caller: Caller,
  ): Promise<{ host: string; port: number } | Refusal> {
    const { snapshot } = this.#parts.controlPlane;
    const identify = () => identifyAgent(caller, snapshot, this.#parts.clock, request.headers);
    if (caller.isRemote === true) {
      const known = await identify();
      if (!known.ok) return known.reason;
    }
    const target = parseAuthority(request.target, Number.NaN);
    if (target === undefined || Number.isNaN(target.port))
      return refusal("target_not_canonical", "the target of CONNECT is not host:port");
    const host = headerValues(request.headers, "host");
    const named = parseAuthority(host[0] ?? request.target, target.port);
    if (host.length > 1 || named === undefined || named.host !== target.host || named.port !== target.port)
      return refusal("target_not_canonical", "the header host is not the target of CONNECT");
    const identified = await identify();
    if (!identified.ok) return identified.reason;
    if (!snapshot.byAuthority.has(`${target.host}:${target.port}`))
      return refusal(
        "server_workload_unknown",
        `${target.host}:${target.port} is not a registered server workload`,
      );
    return target;
  }

  async #refuseConnect(
    reason: Refusal,
    request: ConnectRequest,
    caller: Caller,
    socket: Duplex,
  ): Promise<void> {
    const { epoch } = this.#parts.controlPlane.snapshot;
    const identified = await Promise.resolve(caller.identify(epoch, request.headers)).catch(() => undefined);
    const target = parseAuthority(request.target, 443);
    await this.#refuse(socket, caller, reason, {
      mode: "connect",
      method: "CONNECT",
      ...(identified?.ok === true ? { caller: identified.value } : {}),
      ...(target === undefined ? {} : { host: target.host }),
    });
  }

  #malformed(detail: string, socket: Duplex): void {
    const caller = this.#callers.get(socket);
    if (caller === undefined || !socket.writable) return void socket.destroy();
    void this.#refuseMalformed(socket, caller, detail);
  }

  async #refuseMalformed(socket: Duplex, caller: Caller, detail: string): Promise<void> {
    const { clock, controlPlane } = this.#parts;
    const known =
      caller.isRemote === true ? await identifyAgent(caller, controlPlane.snapshot, clock) : undefined;
    // Whoever has shown no certificate could only have said who it is in the request that cannot be read.
    const reason =
      known?.ok === false
        ? { ...known.reason, reasons: ["request_malformed"] }
        : refusal("request_malformed", detail);
    await this.#refuse(socket, caller, reason, known?.ok === true ? { caller: known.value } : {});
  }

  /** Records and answers where there is no exchange: the connection ends with it. */
  async #refuse(
    socket: Duplex,
    caller: Caller,
    reason: Refusal,
    known: Partial<DecisionRecord>,
  ): Promise<void> {
    const { clock, audit, controlPlane, observer, knownSecrets } = this.#parts;
    const id = newId(clock.now());
    const outcome = new Outcome(id, clock, audit, observer);
    const decision = await withoutSecrets(
      {
        id,
        time: clock.now(),
        outcome: "deny",
        code: reason.code,
        detail: reason.detail,
        reasons: reason.reasons ?? [],
        policies: [],
        run: caller.run,
        isolated: caller.isolated,
        peer: caller.isRemote === true ? caller.origin : undefined,
        policyDigest: controlPlane.snapshot.policyDigest,
        ...known,
      },
      knownSecrets,
    );
    outcome.decided(decision);
    const recorded = recordDecision(audit, decision);
    const isDurable = recorded.ok && (await durably(recorded.value));
    const given = isDurable ? reason : recorded.ok ? NOT_DURABLE : recorded.reason;
    outcome.refused(given);
    outcome.record(known.caller?.agent, undefined);
    endWithRefusal(socket, given, recorded.ok ? id : undefined);
  }
}
