// SPDX-License-Identifier: Apache-2.0
/**
 * The issuer of one trust domain: its authorities in the store, their rotation, and the SVIDs that they sign.
 *
 * Several servers may share a store. Whoever changes an authority first wins, and the others take over what is there.
 */
import type { AuthorityChange } from "../audit/identity-events.ts";
import type { SpiffeId } from "@postern/identity/spiffe-id";
import type { TrustBundle } from "@postern/identity/trust-bundle";
import type { Clock } from "../kernel/clock.ts";
import { Fault } from "../kernel/fault.ts";
import { ok, refuse, type Result } from "../kernel/result.ts";
import type { EcdsaSigningKey } from "../keys/signing-keys.ts";
import type { AuthorityStore, StoredAuthority } from "../store/authority-store.ts";
import {
  activate,
  AUTHORITY_KINDS,
  type AuthorityKind,
  authorityName,
  changed,
  findActive,
  isPublished,
  nextDue,
  nextGeneration,
  revoke,
  taint,
} from "./authority-life.ts";
import type { ParentAuthority } from "./parent-authority.ts";
import {
  type ActiveAuthority,
  activeAuthority,
  bundleOf,
  type JwtSvid,
  signJwtSvid,
  signX509ForKey,
  signWitSvid,
  signX509Svid,
  type SvidLives,
  writeAuthority,
  type WitSvid,
  writeAuthorityBelow,
  type X509Svid,
} from "./signer.ts";

export interface IssuerParts {
  readonly trustDomain: string;
  readonly lives: SvidLives;
  readonly authorities: AuthorityStore;
  /** The key of this name, made and sealed at the first call. */
  signingKey(name: string): Promise<EcdsaSigningKey>;
  /** Absent: this server issues no WIT-SVIDs, and keeps no authority for them. */
  readonly hasWit?: boolean;
  /** Signs the authorities for X.509-SVIDs; absent where they sign themselves. */
  readonly parent?: ParentAuthority | undefined;
  readonly clock: Clock;
  /** Resolves when it is durable. `operatorUid` is absent where the server did it by itself. */
  audit(change: AuthorityChange, authority: string, operatorUid?: number): Promise<void>;
}

export type AuthorityVerb =
  | { readonly verb: "prepare"; readonly kind: AuthorityKind }
  | { readonly verb: "activate"; readonly authority: string; readonly isForced: boolean }
  | { readonly verb: "taint" | "revoke"; readonly authority: string };

interface IssuerState {
  readonly epoch: number;
  readonly all: readonly StoredAuthority[];
  readonly active: ReadonlyMap<AuthorityKind, ActiveAuthority>;
  readonly bundle: TrustBundle;
}

type Change = Result<
  { readonly change: AuthorityChange; readonly about: string; readonly put: readonly StoredAuthority[] },
  string
>;

const MOST_ATTEMPTS = 10;

/** What time asks for and cannot be done is nobody's answer: it goes to the log, and is tried again. */
function mustBe(change: Change): Change {
  if (change.ok) return change;
  throw new Fault("internal_error", change.reason);
}

export class Issuer {
  readonly #parts: IssuerParts;
  #state!: IssuerState;
  readonly #listeners = new Set<() => void>();
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(parts: IssuerParts) {
    this.#parts = parts;
  }

  /** Loads what is stored; makes the first authorities where there are none. */
  static async open(parts: IssuerParts): Promise<Issuer> {
    const issuer = new Issuer(parts);
    await issuer.#reload();
    await issuer.tend();
    return issuer;
  }

  get trustDomain(): string {
    return this.#parts.trustDomain;
  }

  /** Everything that is believed in this trust domain now. */
  get bundle(): TrustBundle {
    return this.#state.bundle;
  }

  get authorities(): readonly StoredAuthority[] {
    return this.#state.all;
  }

  /** Called after every change of an authority, here or at another server. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** `hosts` are other names that its holder has; only the server's own certificates have any. */
  issueX509(id: SpiffeId, hosts?: readonly (string | Buffer)[]): X509Svid {
    const { lives, clock } = this.#parts;
    return signX509Svid(this.#signerOf("x509", id), id, lives.x509, clock.now(), hosts);
  }

  /** For a key of the workload's own; `publicKey` as in `signX509ForKey`. */
  issueX509ForKey(id: SpiffeId, publicKey: Buffer): Omit<X509Svid, "privateKey"> {
    const { lives, clock } = this.#parts;
    return signX509ForKey(this.#signerOf("x509", id), { id, publicKey }, lives.x509, clock.now());
  }

  issueJwt(id: SpiffeId, audience: readonly string[]): JwtSvid {
    const { lives, clock } = this.#parts;
    return signJwtSvid(this.#signerOf("jwt", id), id, audience, lives.jwt, clock.now());
  }

  issueWit(id: SpiffeId): WitSvid {
    const { lives, clock } = this.#parts;
    return signWitSvid(this.#signerOf("wit", id), id, lives.x509, clock.now());
  }

  get #kinds(): readonly AuthorityKind[] {
    return AUTHORITY_KINDS.filter((kind) => kind !== "wit" || this.#parts.hasWit === true);
  }

  #signerOf(kind: AuthorityKind, id: SpiffeId): ActiveAuthority {
    if (id.trustDomain !== this.trustDomain)
      throw new Fault(
        "internal_error",
        `this server signs for ${this.trustDomain} only, not for ${id.trustDomain}`,
      );
    const active = this.#state.active.get(kind);
    if (active === undefined) throw new Fault("internal_error", `no ${kind} authority is active`);
    return active;
  }

  /** What an operator asks for; resolves when it is in force here, with the name of the authority. */
  change(asked: AuthorityVerb, operatorUid: number): Promise<Result<string, string>> {
    return this.#alone(async () => {
      const done = await this.#apply((all) => this.#decide(asked, all), operatorUid);
      return done.ok ? ok(done.value.about) : done;
    });
  }

  async #decide(asked: AuthorityVerb, all: readonly StoredAuthority[]): Promise<Change> {
    const now = this.#parts.clock.now();
    if (asked.verb === "prepare") return this.#prepare(asked.kind, all);
    const { verb, authority } = asked;
    const put =
      verb === "activate"
        ? activate(all, authority, now, asked.isForced)
        : verb === "taint"
          ? taint(all, authority, now)
          : revoke(all, authority, now);
    return put.ok ? ok({ change: verb, about: authority, put: put.value }) : put;
  }

  async #prepare(kind: AuthorityKind, all: readonly StoredAuthority[]): Promise<Change> {
    if (!this.#kinds.includes(kind)) return refuse("no WIT-SVIDs are issued: start with --wit-svid");
    const generation = nextGeneration(all, kind);
    if (!generation.ok) return generation;
    const next = await this.#newAuthority(kind, generation.value);
    if (!next.ok) return next;
    return ok({ change: "prepare", about: authorityName(next.value), put: [next.value] });
  }

  async #newAuthority(kind: AuthorityKind, generation: number): Promise<Result<StoredAuthority, string>> {
    const { trustDomain, clock, parent } = this.#parts;
    const spec = { trustDomain, kind, generation };
    const key = await this.#keyOf(spec);
    if (kind !== "x509" || parent === undefined) return ok(writeAuthority(spec, key, clock.now()));
    const signed = await writeAuthorityBelow(parent, spec, key, clock.now());
    return signed.ok ? signed : refuse(`the parent authority has not signed: ${signed.reason}`);
  }

  #keyOf(authority: Pick<StoredAuthority, "kind" | "generation">): Promise<EcdsaSigningKey> {
    return this.#parts.signingKey(`svid-${this.trustDomain}-${authorityName(authority)}`);
  }

  /** Does what time asks for. Called again and again; nothing happens where nothing is due. */
  tend(): Promise<void> {
    return this.#alone(async () => {
      for (let round = 0; round < MOST_ATTEMPTS; round++) {
        if (nextDue(this.#state.all, this.#parts.clock.now(), this.#kinds) === undefined) return;
        const done = await this.#apply((all) => this.#decideDue(all));
        // Somebody else did it in the meantime.
        if (!done.ok) return;
      }
    });
  }

  async #decideDue(all: readonly StoredAuthority[]): Promise<Change> {
    const now = this.#parts.clock.now();
    const due = nextDue(all, now, this.#kinds);
    if (due === undefined) return refuse("nothing is due");
    switch (due.verb) {
      case "prepare":
        return mustBe(await this.#prepare(due.kind, all));
      case "activate": {
        const about = authorityName(due.authority);
        const put = activate(all, about, now, true);
        return put.ok ? ok({ change: "activate", about, put: put.value }) : put;
      }
      case "replace":
        return mustBe(await this.#replace(due.kind, all, now));
      case "retire":
        return ok({
          change: "revoke",
          about: due.authorities.map(authorityName).join(", "),
          put: due.authorities,
        });
    }
  }

  /** Nobody signs: what was prepared and never used has ended with it. */
  async #replace(kind: AuthorityKind, all: readonly StoredAuthority[], now: number): Promise<Change> {
    const left = all.filter((each) => each.kind === kind && isPublished(each));
    const ended = left.map((each) => changed(each, each.state === "active" ? "old" : each.state, now));
    const unused = ended.map((each) => (each.state === "prepared" ? changed(each, "revoked", now) : each));
    const generation = nextGeneration(all.filter(({ state }) => state !== "prepared").concat(unused), kind);
    if (!generation.ok) return generation;
    const made = await this.#newAuthority(kind, generation.value);
    if (!made.ok) return made;
    const next = changed(made.value, "active", now);
    return ok({ change: "activate", about: authorityName(next), put: [...unused, next] });
  }

  /** Decides on what is stored now, writes it to the log, stores it, and takes it over. */
  async #apply(
    decide: (all: readonly StoredAuthority[]) => Promise<Change>,
    operatorUid?: number,
  ): Promise<Change> {
    const { authorities, trustDomain, audit } = this.#parts;
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      const { epoch, authorities: all } = await authorities.snapshot(trustDomain);
      const decided = await decide(all);
      if (!decided.ok) {
        await this.#reload();
        return decided;
      }
      const { change, about, put } = decided.value;
      // What takes trust away is in force first: a log that cannot be written must not keep a stolen key alive.
      const isLess = change === "taint" || change === "revoke";
      if (!isLess) await audit(change, about, operatorUid);
      const isStored = await authorities.put(put, epoch);
      if (!isStored) continue;
      await this.#reload();
      if (isLess) await audit(change, about, operatorUid);
      return decided;
    }
    throw new Fault(
      "resource_conflict",
      "the authorities are changed by others all the time: try again later",
    );
  }

  /** Takes over what another server has changed. */
  refresh(): Promise<void> {
    return this.#alone(() => this.#reload());
  }

  async #reload(): Promise<void> {
    const { authorities, trustDomain } = this.#parts;
    const { epoch, authorities: all } = await authorities.snapshot(trustDomain);
    const before = this.#state as IssuerState | undefined;
    if (before?.epoch === epoch) return;
    const active = new Map<AuthorityKind, ActiveAuthority>();
    for (const kind of AUTHORITY_KINDS) {
      const stored = findActive(all, kind);
      if (stored === undefined) continue;
      const known = before?.active.get(kind);
      // Its key stays what it was, also while the master key is being rotated.
      const isSame = known?.stored.generation === stored.generation;
      active.set(kind, isSame ? { ...known, stored } : activeAuthority(stored, await this.#keyOf(stored)));
    }
    this.#state = { epoch, all, active, bundle: bundleOf(trustDomain, all, epoch) };
    if (before !== undefined) for (const listener of this.#listeners) listener();
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => {});
    return result;
  }
}
