// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps what requests and answers are searched for: every version of every secret of the vault.
 *
 * A few new secrets are added at once beside what there is; the whole is then built anew in slices, while
 * requests go on. At no time is less looked for than before, a deleted secret apart.
 */
import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { joined, type Matcher, PatternMatcher } from "../guard/pattern-matcher.ts";
import { secretPatterns } from "../guard/secret-patterns.ts";
import type { Secret } from "../kernel/secret.ts";

export interface SecretSource {
  /** The same array as long as nothing has changed. */
  allSecrets(): Promise<readonly Secret[]>;
  /** The same without waiting, where it is known. */
  knownSecrets(): readonly Secret[] | undefined;
}

/** How long, in milliseconds, a build may keep others waiting. */
const SLICE = 8;
/** As many take a few milliseconds to add. */
const FEW = 64;

interface Layer {
  readonly matcher: Matcher;
  readonly digests: ReadonlySet<string>;
}

const EMPTY: Layer = { matcher: PatternMatcher.of([]), digests: new Set() };

export class KnownSecrets {
  readonly #source: SecretSource;
  #list: readonly Secret[] | undefined;
  #current = EMPTY;
  #taking: { readonly list: readonly Secret[]; readonly done: Promise<void> } | undefined;
  #rebuilding: Promise<void> | undefined;
  readonly #single = new WeakMap<Secret, Layer>();

  constructor(source: SecretSource) {
    this.#source = source;
  }

  /**
   * Looks for all secrets of the vault, and for `injected` whether it is one of them yet or not. Where they
   * cannot be read, those that were known before do; rejects where there are none.
   */
  matcher(injected?: Secret): Matcher | Promise<Matcher> {
    const known = this.#source.knownSecrets();
    return known !== undefined && known === this.#list ? this.#with(injected) : this.#whenTaken(injected);
  }

  async #whenTaken(injected: Secret | undefined): Promise<Matcher> {
    let list = this.#list;
    try {
      list = await this.#source.allSecrets();
    } catch (error) {
      if (list === undefined) throw error;
    }
    if (list !== undefined && list !== this.#list) await this.#take(list);
    return this.#with(injected);
  }

  #with(injected: Secret | undefined): Matcher {
    const { matcher, digests } = this.#current;
    if (injected === undefined) return matcher;
    const single = this.#singleOf(injected);
    return [...single.digests].every((digest) => digests.has(digest))
      ? matcher
      : joined([matcher, single.matcher]);
  }

  /** Resolves when everything is in one piece; for tests and figures. */
  async settled(): Promise<void> {
    while (this.#rebuilding !== undefined) await this.#rebuilding;
  }

  #singleOf(secret: Secret): Layer {
    const known = this.#single.get(secret);
    if (known !== undefined) return known;
    const layer = {
      matcher: PatternMatcher.of(secretPatterns(secret.expose("scrub"))),
      digests: new Set([digestOf(secret)]),
    };
    this.#single.set(secret, layer);
    return layer;
  }

  /** One change is taken over once, however many requests wait for it. */
  async #take(list: readonly Secret[]): Promise<void> {
    if (this.#taking?.list !== list) {
      const before = this.#taking?.done;
      const done = (async () => {
        await before?.catch(() => {});
        await this.#add(list);
      })();
      this.#taking = { list, done };
    }
    await this.#taking.done;
  }

  async #add(list: readonly Secret[]): Promise<void> {
    const { matcher, digests } = this.#current;
    const fresh = list.filter((secret) => !digests.has(digestOf(secret)));
    if (fresh.length > 0) {
      const build = PatternMatcher.build(patternsOf(fresh));
      const added = fresh.length <= FEW ? whole(build) : await inSlices(build);
      const all = new Set([...digests, ...fresh.map(digestOf)]);
      this.#current = { matcher: digests.size === 0 ? added : joined([matcher, added]), digests: all };
    }
    this.#list = list;
    // Also where secrets went away, so that nothing of them stays.
    if (digests.size > 0 || fresh.length === 0) this.#rebuild();
  }

  #rebuild(): void {
    // What cannot be built anew stays in the layers it has.
    this.#rebuilding ??= this.#rebuildAll().catch(() => void (this.#rebuilding = undefined));
  }

  async #rebuildAll(): Promise<void> {
    let list: readonly Secret[] | undefined;
    while (list !== this.#list) {
      list = this.#list;
      const secrets = list ?? [];
      const matcher = await inSlices(PatternMatcher.build(patternsOf(secrets)));
      const digests = new Set(secrets.map(digestOf));
      const fresh = (this.#list ?? []).filter((secret) => !digests.has(digestOf(secret)));
      // Many that came meanwhile have to wait for the next round, in the layers they are in.
      if (fresh.length > FEW) continue;
      for (const secret of fresh) digests.add(digestOf(secret));
      const added = fresh.map((secret) => this.#singleOf(secret).matcher);
      this.#current = { matcher: joined([matcher, ...added]), digests };
    }
    this.#rebuilding = undefined;
  }
}

const digests = new WeakMap<Secret, string>();

function digestOf(secret: Secret): string {
  const known = digests.get(secret);
  if (known !== undefined) return known;
  const digest = createHash("sha256").update(secret.expose("scrub")).digest("base64");
  digests.set(secret, digest);
  return digest;
}

function* patternsOf(secrets: Iterable<Secret>): Iterable<Buffer> {
  for (const secret of secrets) yield* secretPatterns(secret.expose("scrub"));
}

function whole<T>(build: Generator<void, T>): T {
  for (;;) {
    const step = build.next();
    if (step.done === true) return step.value;
  }
}

async function inSlices<T>(build: Generator<void, T>): Promise<T> {
  let started = performance.now();
  for (;;) {
    const step = build.next();
    if (step.done === true) return step.value;
    if (performance.now() - started < SLICE) continue;
    await nextTurn();
    started = performance.now();
  }
}
