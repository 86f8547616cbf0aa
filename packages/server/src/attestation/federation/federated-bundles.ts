// SPDX-License-Identifier: Apache-2.0
/**
 * Whom is to be believed in the trust domains that this server federates with? (SPIFFE Federation §6)
 *
 * Each one's bundle is read from its endpoint again and again, and serves for a bounded time: a bundle of which nothing was
 * heard for too long is none, because a key that was taken back must end. Bundles are never merged.
 */
import type { ResourceOf } from "@postern/contract";
import {
  type JwtAuthority,
  parseTrustBundle,
  strangerIn,
  type TrustBundle,
} from "@postern/identity/trust-bundle";
import type { Clock, Instant } from "../../kernel/clock.ts";
import type { Log } from "../../kernel/log.ts";
import { ok, refuse, type Result } from "../../kernel/result.ts";
import { fetchBundle } from "./fetch-bundle.ts";

type Federated = ResourceOf<"FederatedTrustDomain">;

export interface FederationParts {
  readonly clock: Clock;
  readonly log: Log;
  /** Of this server; an endpoint may be one of its own. */
  ownBundle(): TrustBundle | undefined;
  /** 0 to 1: not every server asks at the same moment. */
  chance(): number;
}

/** Where there is no hint (Trust Domain and Bundle §4.1.2). */
const USUAL_INTERVAL = 300;
/** Seconds, whatever the hint says: not more often, so that nobody can make us ask; not less, so that keys end. */
const LEAST_INTERVAL = 10;
const MOST_INTERVAL = 3600;
const LONGEST_FETCH = 10_000;

interface Followed {
  readonly resource: Federated;
  readonly text: string;
  bundle: TrustBundle | undefined;
  /** When the endpoint said so, or when the server was told by its operator. */
  heardAt: Instant;
  problem: string | undefined;
  /** What listeners know. */
  told: Result<TrustBundle, string>;
  fetching: Promise<void> | undefined;
  timer: NodeJS.Timeout | undefined;
}

export class FederatedBundles {
  readonly #parts: FederationParts;
  readonly #followed = new Map<string, Followed>();
  readonly #listeners = new Set<() => void>();
  #isClosed = false;

  constructor(parts: FederationParts) {
    this.#parts = parts;
  }

  /** What operators have said now: new ones are asked at once, and what is no longer there is forgotten. */
  follow(resources: readonly Federated[]): void {
    const names = new Set(resources.map(({ metadata }) => metadata.name));
    for (const name of this.#followed.keys()) if (!names.has(name)) this.#forget(name);
    for (const resource of resources) {
      const text = JSON.stringify(resource.spec);
      const { name } = resource.metadata;
      if (this.#followed.get(name)?.text === text) continue;
      this.#forget(name);
      this.#followed.set(name, this.#begin(resource, text));
      void this.refresh(name);
    }
  }

  /** By the name of its resource; refuses with the reason why nothing is known. */
  get(name: string): Result<TrustBundle, string> {
    const followed = this.#followed.get(name);
    if (followed === undefined) return refuse("trust_domain_not_federated");
    const { bundle, heardAt, problem, resource } = followed;
    if (bundle === undefined) return refuse(problem ?? "trust_bundle_never_read");
    const age = this.#parts.clock.now() - heardAt;
    return age > resource.spec.maxAge * 1000 ? refuse("trust_bundle_stale") : ok(bundle);
  }

  /** Called where a bundle has changed or is believed no longer. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** Asks now; resolves when that is over, however it went. */
  refresh(name: string): Promise<void> {
    const followed = this.#followed.get(name);
    if (followed === undefined || this.#isClosed) return Promise.resolve();
    followed.fetching ??= this.#fetch(followed).finally(() => {
      followed.fetching = undefined;
      this.#schedule(name, followed);
    });
    return followed.fetching;
  }

  close(): void {
    this.#isClosed = true;
    for (const name of this.#followed.keys()) this.#forget(name);
  }

  #begin(resource: Federated, text: string): Followed {
    const { bundle, trustDomain } = resource.spec;
    const parsed = bundle === undefined ? undefined : parseTrustBundle(trustDomain, Buffer.from(bundle));
    return {
      told: parsed?.ok === true ? parsed : refuse("trust_bundle_never_read"),
      ...{ resource, text, problem: undefined, fetching: undefined, timer: undefined },
      bundle: parsed?.ok === true ? parsed.value : undefined,
      heardAt: this.#parts.clock.now(),
    };
  }

  #forget(name: string): void {
    clearTimeout(this.#followed.get(name)?.timer);
    this.#followed.delete(name);
  }

  async #fetch(followed: Followed): Promise<void> {
    const { metadata, spec } = followed.resource;
    const fetched = await fetchBundle(spec, (name) => this.#bundleOf(name), {
      now: () => this.#parts.clock.now(),
      signal: AbortSignal.timeout(LONGEST_FETCH),
    }).catch(() => refuse("trust_bundle_unreadable"));
    // Forgotten or changed meanwhile: what was read is nobody's answer.
    if (this.#followed.get(metadata.name) !== followed) return;
    const problem = fetched.ok ? problemOf(fetched.value, followed.bundle) : fetched.reason;
    if (fetched.ok && problem === undefined) {
      followed.bundle = fetched.value;
      followed.heardAt = this.#parts.clock.now();
    }
    this.#note(followed, problem);
    const after = this.get(metadata.name);
    if (isSame(followed.told, after)) return;
    followed.told = after;
    for (const listener of this.#listeners) listener();
  }

  /** Said once for each kind of trouble, and when it is over. */
  #note(followed: Followed, problem: string | undefined): void {
    if (followed.problem === problem) return;
    followed.problem = problem;
    const fields = { state: followed.resource.metadata.name, check: problem ?? "read" };
    if (problem === undefined) this.#parts.log.write("info", "a federated trust bundle was read", fields);
    else this.#parts.log.write("warn", "a federated trust bundle could not be read", fields);
  }

  /** Federation §6.2: where it failed, too, the next time is one interval later. */
  #schedule(name: string, followed: Followed): void {
    if (this.#isClosed || this.#followed.get(name) !== followed) return;
    const hint = followed.bundle?.refreshHint ?? USUAL_INTERVAL;
    const interval = Math.min(MOST_INTERVAL, Math.max(LEAST_INTERVAL, hint)) * 1000;
    const wait = interval * (0.9 + 0.1 * this.#parts.chance());
    followed.timer = setTimeout(() => void this.refresh(name), wait);
    followed.timer.unref();
  }

  /** For SVIDs of endpoints. */
  #bundleOf(trustDomain: string): TrustBundle | undefined {
    const own = this.#parts.ownBundle();
    if (own?.trustDomain === trustDomain) return own;
    for (const [name, { resource }] of this.#followed) {
      if (resource.spec.trustDomain !== trustDomain) continue;
      const known = this.get(name);
      return known.ok ? known.value : undefined;
    }
    return undefined;
  }
}

/** Why this bundle is not taken in the place of the one before; undefined where it is. */
function problemOf(bundle: TrustBundle, before: TrustBundle | undefined): string | undefined {
  if (strangerIn(bundle) !== undefined) return "trust_bundle_of_another_trust_domain";
  const isOlder = (bundle.sequence ?? 0n) < (before?.sequence ?? 0n);
  return isOlder && bundle.sequence !== undefined ? "trust_bundle_older" : undefined;
}

function isSame(before: Result<TrustBundle, string>, after: Result<TrustBundle, string>): boolean {
  if (!before.ok || !after.ok) return before.ok === after.ok;
  const [a, b] = [before.value, after.value];
  return (
    a.x509Authorities.length === b.x509Authorities.length &&
    a.x509Authorities.every(({ der }, index) => der.equals(b.x509Authorities[index]!.der)) &&
    areSame(a.jwtAuthorities, b.jwtAuthorities) &&
    areSame(a.witAuthorities ?? [], b.witAuthorities ?? [])
  );
}

const areSame = (before: readonly JwtAuthority[], after: readonly JwtAuthority[]): boolean =>
  before.length === after.length &&
  before.every(({ id, key }, index) => id === after[index]!.id && key.equals(after[index]!.key));
