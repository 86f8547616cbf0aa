// SPDX-License-Identifier: Apache-2.0
/** Which X.509 identity does this process have now, and whose certificates does it believe? Kept up to date by itself. */
import type { TrustBundle } from "@postern/identity/trust-bundle";
import { Kept, type SourceOptions } from "./source.ts";
import { SpiffeError } from "./spiffe-error.ts";
import { NO_STATE, readX509State, type X509State, type X509Svid } from "./x509-state.ts";

/** The longest that a timer of Node can wait. */
const MOST_DELAY = 2 ** 31 - 1;

export class X509Source {
  readonly #kept: Kept<X509State>;
  #expiry: NodeJS.Timeout | undefined;

  private constructor(kept: Kept<X509State>) {
    this.#kept = kept;
    kept.onChange(() => this.#watchExpiry());
    this.#watchExpiry();
  }

  /** Resolves with the first identity; waits as long as there is none, until `signal`. */
  static async open(options: SourceOptions = {}): Promise<X509Source> {
    const read = (message: Buffer, problem: (problem: SpiffeError) => void) =>
      readX509State(message, Date.now(), problem);
    return new X509Source(
      await Kept.open<X509State>({ method: "FetchX509SVID", read, nothing: NO_STATE }, options),
    );
  }

  /** The default identity. Throws where there is none at present. */
  get svid(): X509Svid {
    const [first] = this.svids;
    if (first !== undefined) return first;
    throw this.#kept.isClosed
      ? new SpiffeError("closed", "this source is closed")
      : new SpiffeError("no_identity", "this process has no X.509-SVID at present");
  }

  /** All identities, the default first; empty where there is none at present. */
  get svids(): readonly X509Svid[] {
    return this.#kept.state.svids;
  }

  /** The first with this hint, as the standard wants it (Workload API §5.2.1). */
  svidWithHint(hint: string): X509Svid | undefined {
    return this.svids.find((each) => each.hint === hint);
  }

  /** Whom to believe in this trust domain; undefined where nobody. */
  bundleOf(trustDomain: string): TrustBundle | undefined {
    return this.#kept.state.bundles.get(trustDomain);
  }

  /** Called after every change of an identity or of trust; gives what takes the listener away. */
  onChange(listener: () => void): () => void {
    return this.#kept.onChange(listener);
  }

  close(): void {
    clearTimeout(this.#expiry);
    this.#kept.close();
  }

  /** What has ended is presented to nobody: a server that gives nothing new leaves this process without identity. */
  #watchExpiry(): void {
    clearTimeout(this.#expiry);
    if (this.svids.length === 0) return;
    const left = Math.min(...this.svids.map(({ expiresAt }) => expiresAt)) + 1000 - Date.now();
    const check = (): void => (left <= MOST_DELAY ? this.#kept.withdraw() : this.#watchExpiry());
    this.#expiry = setTimeout(check, Math.min(Math.max(left, 0), MOST_DELAY)).unref();
  }
}
