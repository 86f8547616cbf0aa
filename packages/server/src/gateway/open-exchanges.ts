// SPDX-License-Identifier: Apache-2.0
/** What is open now, by agent: so that cutting an agent ends its streams, and nobody else's. */

export interface OpenExchange {
  /** Ends it at once, on both sides. */
  cut(): void;
}

export class OpenExchanges {
  readonly #byAgent = new Map<string, Set<OpenExchange>>();

  add(agent: string, exchange: OpenExchange): void {
    const open = this.#byAgent.get(agent);
    if (open === undefined) this.#byAgent.set(agent, new Set([exchange]));
    else open.add(exchange);
  }

  count(agent: string): number {
    return this.#byAgent.get(agent)?.size ?? 0;
  }

  get total(): number {
    let total = 0;
    for (const open of this.#byAgent.values()) total += open.size;
    return total;
  }

  remove(agent: string, exchange: OpenExchange): void {
    const open = this.#byAgent.get(agent);
    open?.delete(exchange);
    if (open?.size === 0) this.#byAgent.delete(agent);
  }

  /** Cuts everything an agent has open; returns how much that was. */
  cutAll(agent: string): number {
    const open = [...(this.#byAgent.get(agent) ?? [])];
    for (const exchange of open) exchange.cut();
    return open.length;
  }
}
