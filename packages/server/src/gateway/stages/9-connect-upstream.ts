// SPDX-License-Identifier: Apache-2.0
/**
 * Stage 9: an open, verified connection to the server workload.
 *
 * Idle connections are kept for one agent and one server workload and never shared between agents: an
 * upstream may tie state to a connection.
 */
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { dial } from "../dialer.ts";
import type { Ending } from "../ending.ts";
import { DEFAULT_OUTBOUND_LIMITS, OutboundConnection, type OutboundLimits } from "../http/outbound.ts";
import type { connectionBrand, UpstreamConnection } from "../http/messages.ts";
import type { GatewayWorkload, UpstreamIdentity } from "../ports.ts";
import { type HandshakeIdentity, handshakeIdentity } from "../upstream-identity.ts";
import { type Refusal, refusal } from "./refusal.ts";

const IDLE_LIMIT = 64;
/** How often connections are looked at whether they take too long, in milliseconds. */
const CHECK_EVERY = 500;

/** A connection and whom it is for. */
interface Kept {
  readonly of: GatewayWorkload;
  readonly connection: OutboundConnection;
  /** What the later stages hold of it. */
  readonly upstream: UpstreamConnection;
  /** Whether both sides still are who they proved to be. */
  stillHolds(): boolean;
}

export class UpstreamConnections {
  readonly #idle = new Map<string, Kept[]>();
  readonly #open = new Set<OutboundConnection>();
  readonly #clockwork = setInterval(() => this.#checkTimes(), CHECK_EVERY).unref();
  readonly #limits: OutboundLimits;
  readonly #identity: UpstreamIdentity | undefined;

  constructor(limits: OutboundLimits = DEFAULT_OUTBOUND_LIMITS, identity?: UpstreamIdentity) {
    this.#limits = limits;
    this.#identity = identity;
  }

  /** At once where there is an idle connection. */
  connect(
    agent: string,
    workload: GatewayWorkload,
    host: string,
    ending: Ending,
  ): Result<UpstreamConnection, Refusal> | Promise<Result<UpstreamConnection, Refusal>> {
    const authority = workload.port === 443 ? host : `${host}:${workload.port}`;
    const key = `${agent}\n${workload.name}\n${authority}`;
    const idle = this.#takeIdle(key, workload);
    return idle === undefined ? this.#dial(key, workload, host, authority, ending) : ok(idle.upstream);
  }

  async #dial(
    key: string,
    workload: GatewayWorkload,
    host: string,
    authority: string,
    ending: Ending,
  ): Promise<Result<UpstreamConnection, Refusal>> {
    const identity = await this.#identityFor(workload, host);
    if (identity === undefined)
      return refuse(refusal("upstream_unreachable", "the gateway has no identity to connect with"));
    const socket = await dial({ ...workload, host }, ending.signal(), undefined, identity);
    if (!socket.ok) return refuse(refusal(socket.reason.code, socket.reason.detail));
    const connection = new OutboundConnection(socket.value, this.#limits);
    this.#open.add(connection);
    const stillHolds = (): boolean => identity.isCurrent() && identity.problemOf(socket.value) === undefined;
    const kept = this.#kept(key, workload, authority, connection, stillHolds);
    socket.value.once("close", () => this.#forget(key, kept));
    return ok(kept.upstream);
  }

  async #identityFor(workload: GatewayWorkload, host: string): Promise<HandshakeIdentity | undefined> {
    try {
      return await handshakeIdentity({ ...workload, host }, this.#identity);
    } catch {
      return undefined;
    }
  }

  /** Closes idle connections of an agent that was cut. */
  closeFor(agent: string): void {
    for (const [key, idle] of this.#idle) {
      if (!key.startsWith(`${agent}\n`)) continue;
      for (const { connection } of idle) connection.close();
      this.#idle.delete(key);
    }
  }

  closeAll(): void {
    clearInterval(this.#clockwork);
    for (const connection of this.#open) connection.close();
    this.#idle.clear();
  }

  #checkTimes(): void {
    const now = performance.now();
    for (const connection of this.#open) connection.checkTime(now);
  }

  #takeIdle(key: string, workload: GatewayWorkload): Kept | undefined {
    const idle = this.#idle.get(key);
    while (idle !== undefined && idle.length > 0) {
      const kept = idle.pop()!;
      // A changed server workload may mean another address or another trust: its old connections end.
      if (kept.of === workload && !kept.connection.isClosed && kept.stillHolds()) return kept;
      kept.connection.close();
    }
    return undefined;
  }

  #forget(key: string, kept: Kept): void {
    this.#open.delete(kept.connection);
    const left = this.#idle.get(key)?.filter((each) => each !== kept) ?? [];
    if (left.length === 0) this.#idle.delete(key);
    else this.#idle.set(key, left);
  }

  #kept(
    key: string,
    of: GatewayWorkload,
    authority: string,
    connection: OutboundConnection,
    stillHolds: () => boolean,
  ): Kept {
    const giveBack = (): void => {
      if (connection.isClosed) return;
      const idle = this.#idle.get(key);
      if (idle === undefined) this.#idle.set(key, [kept]);
      else if (idle.length < IDLE_LIMIT) idle.push(kept);
      else connection.close();
    };
    const upstream: Omit<UpstreamConnection, typeof connectionBrand> = {
      authority,
      send: (request, ending) => connection.send(request, ending, giveBack),
      upgrade: (request, ending) => connection.upgrade(request, ending, giveBack),
      release: () => {
        connection.rest();
        giveBack();
      },
    };
    const kept: Kept = { of, connection, upstream: upstream as UpstreamConnection, stillHolds };
    return kept;
  }
}
