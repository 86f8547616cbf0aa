// SPDX-License-Identifier: Apache-2.0
/**
 * Which authority may become what, and when is it time? Pure: the rules of rotation, without keys and without a store.
 *
 * prepared → active → old → tainted → revoked. An authority is in the trust bundle from the moment that it is prepared
 * until it is revoked, so that it is known everywhere before the first document that it signs (SPIFFE Federation §6).
 */
import { ok, refuse, type Result } from "../kernel/result.ts";
import type { StoredAuthority } from "../store/authority-store.ts";

export type AuthorityKind = StoredAuthority["kind"];
export const AUTHORITY_KINDS: readonly AuthorityKind[] = ["jwt", "wit", "x509"];

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** Short enough that rotation is an everyday thing, long enough for a machine that was off over a weekend. */
export const AUTHORITY_LIFE = 7 * DAY;
/** Seconds after which whoever polls the bundle should ask again. */
export const REFRESH_HINT = 300;
/** Milliseconds for which an authority is published before it signs: three rounds of polling, one may be lost. */
const PUBLISHED_AHEAD = 3 * REFRESH_HINT * 1000;
/** Kept in the bundle for so long after its end, then taken out. */
const KEPT_AFTER_END = DAY;

/** Such as `x509-3`: what operators say. */
export const authorityName = ({ kind, generation }: Pick<StoredAuthority, "kind" | "generation">): string =>
  `${kind}-${generation}`;

export const isPublished = ({ state }: StoredAuthority): boolean => state !== "revoked";

export const findActive = (
  all: readonly StoredAuthority[],
  kind: AuthorityKind,
): StoredAuthority | undefined => all.find((each) => each.kind === kind && each.state === "active");

const findPrepared = (all: readonly StoredAuthority[], kind: AuthorityKind) =>
  all.find((each) => each.kind === kind && each.state === "prepared");

/** The number of the authority to be made; refused while another one waits. */
export function nextGeneration(all: readonly StoredAuthority[], kind: AuthorityKind): Result<number, string> {
  const waiting = findPrepared(all, kind);
  if (waiting !== undefined)
    return refuse(`${authorityName(waiting)} is prepared already: activate it, or revoke it first`);
  const ofKind = all.filter((each) => each.kind === kind);
  return ok(Math.max(0, ...ofKind.map(({ generation }) => generation)) + 1);
}

/** Puts a prepared authority in the place of the active one. `isForced`: also before everybody can know it. */
export function activate(
  all: readonly StoredAuthority[],
  name: string,
  now: number,
  isForced: boolean,
): Result<readonly StoredAuthority[], string> {
  const found = find(all, name);
  if (!found.ok) return found;
  const next = found.value;
  if (next.state !== "prepared")
    return refuse(`${name} is ${next.state}; only a prepared authority can be activated`);
  const left = next.createdAt + PUBLISHED_AHEAD - now;
  if (left > 0 && !isForced)
    return refuse(
      `${name} is not known everywhere yet: activate it in ${Math.ceil(left / 60_000)} minutes, or force it`,
    );
  const before = findActive(all, next.kind);
  return ok([...(before === undefined ? [] : [changed(before, "old", now)]), changed(next, "active", now)]);
}

/** Makes everybody get new documents at once, while the earlier ones still hold. */
export function taint(
  all: readonly StoredAuthority[],
  name: string,
  now: number,
): Result<readonly StoredAuthority[], string> {
  const found = find(all, name);
  if (!found.ok) return found;
  if (found.value.state !== "old")
    return refuse(
      `${name} is ${found.value.state}; only an old authority can be tainted, so activate another one first`,
    );
  return ok([changed(found.value, "tainted", now)]);
}

/** Takes an authority out of the bundle: everything that it signed is worth nothing from then on. */
export function revoke(
  all: readonly StoredAuthority[],
  name: string,
  now: number,
): Result<readonly StoredAuthority[], string> {
  const found = find(all, name);
  if (!found.ok) return found;
  const { state } = found.value;
  if (state === "revoked") return refuse(`${name} is revoked already`);
  if (state === "active") return refuse(`${name} signs now: activate another one, then taint ${name} first`);
  if (state === "old") return refuse(`documents of ${name} may be in use: taint it first`);
  const wanted = all.find((each) => isWanted(each) && isBelowTheSame(each, found.value));
  if (wanted !== undefined && state !== "prepared")
    return refuse(
      `${name} and ${authorityName(wanted)} have one parent, so what ${name} signed holds until it ends: let another parent sign first`,
    );
  return ok([changed(found.value, "revoked", now)]);
}

const isWanted = ({ state }: StoredAuthority): boolean => state === "prepared" || state === "active";

/** Others believe the parent's root: they cannot tell what is below it apart. */
const isBelowTheSame = (a: StoredAuthority, b: StoredAuthority): boolean =>
  a.chain !== undefined && authorityName(a) !== authorityName(b) && a.published.equals(b.published);

export type Due =
  | { readonly verb: "prepare"; readonly kind: AuthorityKind }
  /** Nobody signs: a new one has to, without having been published ahead. */
  | { readonly verb: "replace"; readonly kind: AuthorityKind }
  | { readonly verb: "activate"; readonly authority: StoredAuthority }
  | { readonly verb: "retire"; readonly authorities: readonly StoredAuthority[] };

/** What time asks for next; undefined where nothing is due. Of kinds that are not `kept` none follows the last. */
export function nextDue(
  all: readonly StoredAuthority[],
  now: number,
  kept: readonly AuthorityKind[],
): Due | undefined {
  const ended = all.filter((each) => isPublished(each) && now >= each.notAfter + KEPT_AFTER_END);
  const gone = ended.filter(({ kind, state }) => state !== "active" || !kept.includes(kind));
  if (gone.length > 0)
    return { verb: "retire", authorities: gone.map((each) => changed(each, "revoked", now)) };
  for (const kind of kept) {
    const due = dueOf(all, kind, now);
    if (due !== undefined) return due;
  }
  return undefined;
}

function dueOf(all: readonly StoredAuthority[], kind: AuthorityKind, now: number): Due | undefined {
  const active = findActive(all, kind);
  const prepared = findPrepared(all, kind);
  const left = active === undefined ? 0 : active.notAfter - now;
  const life = active === undefined ? 1 : active.notAfter - active.notBefore;
  const isReady = prepared !== undefined && prepared.notAfter > now;
  if (left <= 0 && !isReady) return { verb: "replace", kind };
  if (prepared !== undefined && isReady && left < life / 6) return { verb: "activate", authority: prepared };
  return prepared === undefined && left < life / 2 ? { verb: "prepare", kind } : undefined;
}

function find(all: readonly StoredAuthority[], name: string): Result<StoredAuthority, string> {
  const found = all.find((each) => authorityName(each) === name);
  return found === undefined ? refuse(`there is no authority ${name}`) : ok(found);
}

export const changed = (
  authority: StoredAuthority,
  state: StoredAuthority["state"],
  now: number,
): StoredAuthority => ({ ...authority, state, changedAt: now });
