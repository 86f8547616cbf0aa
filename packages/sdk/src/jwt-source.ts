// SPDX-License-Identifier: Apache-2.0
/** Gives this process tokens to show to others, and says who has shown one to it. */
import type { TrustBundle } from "@postern/identity/trust-bundle";
import { type JwtSvid, requestJwtSvids } from "./jwt-svids.ts";
import { type JwtState, readJwtState } from "./jwt-state.ts";
import { Kept, type SourceOptions } from "./source.ts";
import { SpiffeError } from "./spiffe-error.ts";
import { validateJwtSvid, type ValidatedJwtSvid } from "./validate-jwt-svid.ts";

export interface TokenOptions {
  /** One of several identities; absent: the default one. */
  readonly id?: string;
  readonly signal?: AbortSignal;
}

/** Tokens for more parties than these are asked for anew. */
const MOST_KEPT = 256;

export class JwtSource {
  readonly #kept: Kept<JwtState>;
  readonly #tokens = new Map<string, { readonly svid: JwtSvid; readonly renewAt: number }>();

  private constructor(kept: Kept<JwtState>) {
    this.#kept = kept;
    // Keys were changed, or the identity was taken back: what was signed before may be worth nothing.
    kept.onChange(() => this.#tokens.clear());
  }

  /** Resolves when it is known whose tokens are believed. */
  static async open(options: SourceOptions = {}): Promise<JwtSource> {
    const stream = { method: "FetchJWTBundles", read: readJwtState, nothing: new Map() as JwtState };
    return new JwtSource(await Kept.open(stream, options));
  }

  /** A token for this audience: the one of last time until half of its life is over. */
  async svid(audience: string, { id, signal }: TokenOptions = {}): Promise<JwtSvid> {
    const key = JSON.stringify([audience, id]);
    const known = this.#tokens.get(key);
    const { state } = this.#kept;
    if (known !== undefined && Date.now() < known.renewAt) return known.svid;
    const [svid] = await this.fetch([audience], {
      ...(id === undefined ? {} : { id }),
      ...(signal && { signal }),
    });
    // What has changed meanwhile may have taken this one back.
    if (this.#kept.state !== state || this.#kept.isClosed) return svid;
    const now = Date.now();
    if (this.#tokens.size >= MOST_KEPT) this.#tokens.delete(this.#tokens.keys().next().value!);
    this.#tokens.set(key, { svid, renewAt: now + (svid.expiresAt - now) / 2 });
    return svid;
  }

  /** New tokens, one for each identity of this process, or the one of `id`. */
  fetch(
    audience: readonly string[],
    { id, signal }: TokenOptions = {},
  ): Promise<readonly [JwtSvid, ...JwtSvid[]]> {
    if (this.#kept.isClosed) return Promise.reject(new SpiffeError("closed", "this source is closed"));
    return requestJwtSvids(this.#kept.client, audience, id, signal);
  }

  /** Who has shown this token, if it is for `audience`. Throws where it proves nothing. */
  validate(token: string, audience: string): ValidatedJwtSvid {
    return validateJwtSvid(token, { audience, bundleOf: (name) => this.bundleOf(name) });
  }

  bundleOf(trustDomain: string): TrustBundle | undefined {
    return this.#kept.state.get(trustDomain);
  }

  onChange(listener: () => void): () => void {
    return this.#kept.onChange(listener);
  }

  close(): void {
    this.#kept.close();
    this.#tokens.clear();
  }
}
