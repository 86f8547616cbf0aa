// SPDX-License-Identifier: Apache-2.0
/** Reads requests of agents from connections that it is handed, and hands them on as `Exchange`s. */
import type { Duplex } from "node:stream";
import { InboundConnection, type InboundLimits, type InboundListeners } from "./inbound-connection.ts";
import type { Entrance } from "./messages.ts";

export class InboundCodec {
  readonly #limits: InboundLimits;
  readonly #listeners: InboundListeners;
  readonly #open = new Set<InboundConnection>();
  readonly #clockwork: NodeJS.Timeout;

  constructor(limits: InboundLimits, listeners: InboundListeners) {
    this.#limits = limits;
    this.#listeners = listeners;
    // One timer for all: ten thousand idle connections cost a walk over a list now and then.
    const every = Math.ceil(Math.min(limits.headersTimeout, limits.idleTimeout) / 6);
    this.#clockwork = setInterval(() => this.#checkTimes(), every).unref();
  }

  /** Starts reading requests from a connection. */
  accept(socket: Duplex, entrance: Entrance): void {
    const connection = new InboundConnection(socket, entrance, this.#limits, this.#listeners, () =>
      this.#open.delete(connection),
    );
    this.#open.add(connection);
  }

  /** Nobody looks at the time of connections any more. */
  close(): void {
    clearInterval(this.#clockwork);
  }

  #checkTimes(): void {
    const now = performance.now();
    for (const connection of this.#open) connection.checkTime(now);
  }
}
