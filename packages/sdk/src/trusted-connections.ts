// SPDX-License-Identifier: Apache-2.0
/** Which open connections may go on, now that trust has changed? */
import type { TLSSocket } from "node:tls";
import type { Authorize } from "./authorize.ts";
import { type Peer, type PeerRules, verifyChain } from "./peer.ts";
import type { SpiffeError } from "./spiffe-error.ts";
import type { X509Source } from "./x509-source.ts";

export class TrustedConnections {
  readonly rules: PeerRules;
  readonly #open = new Map<TLSSocket, { readonly peer: Peer; readonly at: number }>();
  readonly #onRefused: ((problem: SpiffeError) => void) | undefined;
  readonly stop: () => void;

  constructor(
    { source, authorize }: { readonly source: X509Source; readonly authorize: Authorize },
    onRefused?: (problem: SpiffeError) => void,
  ) {
    this.rules = { bundleOf: (name) => source.bundleOf(name), authorize };
    this.#onRefused = onRefused;
    this.stop = source.onChange(() => this.#recheck());
  }

  add(socket: TLSSocket, peer: Peer): void {
    this.#open.set(socket, { peer, at: Date.now() });
    socket.once("close", () => this.#open.delete(socket));
  }

  /** As of when it was made: that a certificate has ended since ends no connection, that trust was taken back does. */
  #recheck(): void {
    for (const [socket, { peer, at }] of this.#open)
      try {
        verifyChain(peer.certificates, this.rules, at);
      } catch (error) {
        socket.destroy();
        this.#onRefused?.(error as SpiffeError);
      }
  }
}
