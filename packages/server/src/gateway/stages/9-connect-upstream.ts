// SPDX-License-Identifier: Apache-2.0
/**
 * Stage 9: an open, verified connection to the server workload.
 *
 * Idle connections are kept for one agent and one server workload and never shared between agents: an
 * upstream may tie state to a connection.
 */
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { dial } from "../dialer.ts";
import { OutboundConnection } from "../http/outbound.ts";
import type { connectionBrand, UpstreamConnection } from "../http/messages.ts";
import type { GatewayWorkload } from "../ports.ts";
import { type Refusal, refusal } from "./refusal.ts";

const IDLE_LIMIT = 64;

export class UpstreamConnections {
  readonly #idle = new Map<string, { of: GatewayWorkload; connection: OutboundConnection }[]>();

  async connect(
    agent: string,
    workload: GatewayWorkload,
    host: string,
    signal: AbortSignal,
  ): Promise<Result<UpstreamConnection, Refusal>> {
    const authority = workload.port === 443 ? host : `${host}:${workload.port}`;
    const key = `${agent}\n${workload.name}\n${authority}`;
    const idle = this.#takeIdle(key, workload);
    if (idle !== undefined) return ok(this.#branded(idle, key, workload, authority));
    const socket = await dial({ ...workload, host }, signal);
    if (!socket.ok) return refuse(refusal(socket.reason.code, socket.reason.detail));
    const connection = new OutboundConnection(`https://${authority}`, socket.value);
    return ok(this.#branded(connection, key, workload, authority));
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
    for (const idle of this.#idle.values()) for (const { connection } of idle) connection.close();
    this.#idle.clear();
  }

  #takeIdle(key: string, workload: GatewayWorkload): OutboundConnection | undefined {
    const idle = this.#idle.get(key);
    while (idle !== undefined && idle.length > 0) {
      const { of, connection } = idle.pop()!;
      // A changed server workload may mean another address or another trust: its old connections end.
      if (of === workload && !connection.isClosed) return connection;
      connection.close();
    }
    this.#idle.delete(key);
    return undefined;
  }

  #branded(
    connection: OutboundConnection,
    key: string,
    workload: GatewayWorkload,
    authority: string,
  ): UpstreamConnection {
    const giveBack = (): void => {
      if (connection.isClosed) return;
      const idle = this.#idle.get(key) ?? [];
      if (idle.length >= IDLE_LIMIT) return connection.close();
      idle.push({ of: workload, connection });
      this.#idle.set(key, idle);
    };
    const upstream: Omit<UpstreamConnection, typeof connectionBrand> = {
      authority,
      send: (request, signal) => connection.send(request, signal, giveBack),
      release: giveBack,
    };
    return upstream as UpstreamConnection;
  }
}
