// SPDX-License-Identifier: Apache-2.0
/** What the attacker is told to begin with: more than a real one would know, and no secret. */

export interface AttackOrders {
  /** Postern's data folder: vault, master key, audit log. */
  readonly dataFolder: string;
  /** Ports on the machine's loopback where the upstreams listen. */
  readonly upstreamPorts: readonly number[];
  /** A UDP port on the machine's loopback where somebody listens for DNS. */
  readonly udpPort: number;
  readonly forbiddenModel: string;
  readonly echoModels: readonly string[];
}

/** One line of the attacker's output. */
export type AttackReport = { readonly attack: string } & Readonly<Record<string, unknown>>;
