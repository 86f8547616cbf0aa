// SPDX-License-Identifier: Apache-2.0
/**
 * Which keys does an issuer sign with? From its discovery document (OpenID Connect Discovery 1.0 §4), kept for a time.
 *
 * Keys serve for five minutes, and up to an hour where the issuer cannot be reached: no longer, because a key that was
 * taken back must end. A token with an unknown `kid` makes the keys be read again, but never more often than every
 * ten seconds: strangers choose the `kid`.
 */
import type { Clock, Instant } from "../../kernel/clock.ts";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { parseKeySet, type VerificationKey } from "@postern/identity/jwt/key-set";
import { isJsonObject, memberOf, parseStrictJson } from "@postern/identity/jwt/strict-json";
import { callHttps, type Reach } from "./call-https.ts";

export interface KeySource {
  /** The keys known now; read again where none has this `kid`. Refuses with the reason why nothing is known. */
  keysFor(keyId: string | undefined): Promise<Result<readonly VerificationKey[], string>>;
}

export interface IssuerPlace {
  readonly issuer: string;
  /** Where the discovery document is; below the issuer where absent. */
  readonly discovery?: string | undefined;
  readonly reach: Reach;
}

/** How keys are read: from an issuer's discovery document, or from wherever else an operator trusts. */
export type ReadKeys = (signal: AbortSignal) => Promise<Result<readonly VerificationKey[], string>>;

const FRESH_MS = 5 * 60_000;
const USABLE_MS = 60 * 60_000;
const BETWEEN_READS_MS = 10_000;
const READ_TIMEOUT_MS = 5_000;

export class IssuerKeys implements KeySource {
  readonly #readKeys: ReadKeys;
  readonly #clock: Clock;
  #keys: readonly VerificationKey[] = [];
  #readAt: Instant = -Infinity;
  #triedAt: Instant = -Infinity;
  #problem = "issuer_never_read";
  #reading: Promise<void> | undefined;

  constructor(readKeys: ReadKeys, clock: Clock) {
    this.#readKeys = readKeys;
    this.#clock = clock;
  }

  async keysFor(keyId: string | undefined): Promise<Result<readonly VerificationKey[], string>> {
    if (!this.#serves(keyId) && this.#since(this.#triedAt) >= BETWEEN_READS_MS)
      this.#reading ??= this.#read().finally(() => (this.#reading = undefined));
    // Whoever comes meanwhile waits for the same answer.
    if (!this.#serves(keyId)) await this.#reading;
    const isKnown = keyId === undefined || this.#keys.some(({ id }) => id === keyId);
    // Without word from the issuer nobody can say that there is no such key.
    const hasFailed = this.#triedAt !== this.#readAt;
    if (this.#since(this.#readAt) > USABLE_MS || (hasFailed && !isKnown)) return refuse(this.#problem);
    return ok(this.#keys);
  }

  #serves(keyId: string | undefined): boolean {
    return (
      this.#since(this.#readAt) < FRESH_MS &&
      (keyId === undefined || this.#keys.some(({ id }) => id === keyId))
    );
  }

  /** In either direction: a clock that was set back must not keep keys that were taken back since. */
  #since(then: Instant): number {
    return Math.abs(this.#clock.now() - then);
  }

  async #read(): Promise<void> {
    this.#triedAt = this.#clock.now();
    const keys = await this.#readKeys(AbortSignal.timeout(READ_TIMEOUT_MS));
    if (!keys.ok) {
      this.#problem = keys.reason;
      return;
    }
    this.#keys = keys.value;
    this.#readAt = this.#triedAt;
  }
}

export const discoveredKeys =
  (place: IssuerPlace): ReadKeys =>
  (signal) =>
    discoverKeys(place, signal);

async function discoverKeys(
  { issuer, discovery, reach }: IssuerPlace,
  signal: AbortSignal,
): Promise<Result<readonly VerificationKey[], string>> {
  const document = new URL(discovery ?? `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`);
  const get = async (url: URL): Promise<Result<Buffer, string>> => {
    // The detour is for this host; keys may be elsewhere.
    const { connectTo, ...rest } = reach;
    const detour = url.host === document.host ? { connectTo } : {};
    const answer = await callHttps({ url, method: "GET" }, { ...rest, ...detour }, signal);
    if (!answer.ok) return answer;
    return answer.value.status === 200
      ? ok(answer.value.body)
      : refuse(`authority_status_${answer.value.status}`);
  };
  const found = await get(document);
  if (!found.ok) return found;
  const keysUrl = keysUrlOf(found.value, issuer);
  if (!keysUrl.ok) return keysUrl;
  const set = await get(keysUrl.value);
  return set.ok ? parseKeySet(set.value) : set;
}

function keysUrlOf(document: Buffer, issuer: string): Result<URL, string> {
  const json = parseStrictJson(document);
  if (!json.ok || !isJsonObject(json.value)) return refuse("discovery_malformed");
  // §4.3: exactly the issuer that was asked for, or one issuer could speak for another.
  if (memberOf(json.value, "issuer") !== issuer) return refuse("discovery_of_another_issuer");
  const uri = memberOf(json.value, "jwks_uri");
  const url = typeof uri === "string" && uri.length <= 2000 ? URL.parse(uri) : null;
  if (url === null || url.protocol !== "https:" || url.username !== "" || url.password !== "")
    return refuse("discovery_malformed");
  return ok(url);
}
