// SPDX-License-Identifier: Apache-2.0
/** Whose certificates are believed? For services that verify others and have no X.509-SVID of their own. */
import type { TrustBundle } from "@postern/identity/trust-bundle";
import { Kept, type SourceOptions } from "./source.ts";
import { SpiffeError } from "./spiffe-error.ts";
import { readX509BundlesResponse } from "./workload-messages.ts";
import { readX509Bundles } from "./x509-state.ts";

type Bundles = ReadonlyMap<string, TrustBundle>;

function readBundles(message: Buffer, problem: (problem: SpiffeError) => void): Bundles {
  const bundles = readX509BundlesResponse(message);
  if (bundles.size === 0) throw new SpiffeError("response_invalid", "an answer without any X.509 bundle");
  return readX509Bundles(bundles, problem);
}

export class BundleSource {
  readonly #kept: Kept<Bundles>;

  private constructor(kept: Kept<Bundles>) {
    this.#kept = kept;
  }

  static async open(options: SourceOptions = {}): Promise<BundleSource> {
    const stream = { method: "FetchX509Bundles", read: readBundles, nothing: new Map() as Bundles };
    return new BundleSource(await Kept.open(stream, options));
  }

  bundleOf(trustDomain: string): TrustBundle | undefined {
    return this.#kept.state.get(trustDomain);
  }

  onChange(listener: () => void): () => void {
    return this.#kept.onChange(listener);
  }

  close(): void {
    this.#kept.close();
  }
}
