// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { StoredAuthority } from "../store/authority-store.ts";
import { activate, AUTHORITY_LIFE, nextDue, nextGeneration, revoke, taint } from "./authority-life.ts";

const HOUR = 3_600_000;
const START = Date.UTC(2026, 0, 1);

function authority(generation: number, state: StoredAuthority["state"], more: Partial<StoredAuthority> = {}) {
  return {
    ...{ trustDomain: "corp", kind: "x509", generation, state, published: Buffer.alloc(0) },
    ...{ notBefore: START, notAfter: START + AUTHORITY_LIFE, createdAt: START, changedAt: START },
    ...more,
  } as StoredAuthority;
}

/** A JWT authority that needs nothing, so that only the X.509 ones are asked about. */
const settled = authority(1, "active", { kind: "jwt", notAfter: START + 100 * AUTHORITY_LIFE });
const states = (all: readonly StoredAuthority[]) =>
  all.map(({ generation, state }) => `${generation} ${state}`);
const due = (all: readonly StoredAuthority[], now: number) =>
  nextDue([settled, ...all], now, ["jwt", "x509"]);

describe("an operator's wish about authorities", () => {
  const all = [
    authority(1, "revoked"),
    authority(2, "tainted"),
    authority(3, "old"),
    authority(4, "active"),
    authority(5, "prepared"),
  ];
  const later = START + HOUR;

  it.each([
    ["to activate an active one", activate(all, "x509-4", later, true)],
    ["to activate an old one", activate(all, "x509-3", later, true)],
    ["to activate a tainted one", activate(all, "x509-2", later, true)],
    ["to activate a revoked one", activate(all, "x509-1", later, true)],
    ["to activate one before everybody can know it", activate(all, "x509-5", START + 60_000, false)],
    ["to activate one of another kind", activate(all, "jwt-5", later, true)],
    ["to taint the one that signs", taint(all, "x509-4", later)],
    ["to taint one that never signed", taint(all, "x509-5", later)],
    ["to taint a tainted one", taint(all, "x509-2", later)],
    ["to revoke the one that signs", revoke(all, "x509-4", later)],
    ["to revoke one whose documents are in use", revoke(all, "x509-3", later)],
    ["to revoke a revoked one", revoke(all, "x509-1", later)],
    ["to revoke one that is not there", revoke(all, "x509-9", later)],
    ["to prepare a second one", nextGeneration(all, "x509")],
  ])("is refused: %s", (_, result) => {
    expect(result).toEqual({ ok: false, reason: expect.any(String) });
  });

  it("is granted in the order prepare, activate, taint, revoke", () => {
    const activated = activate(all, "x509-5", later, false);
    expect(activated.ok && states(activated.value)).toEqual(["4 old", "5 active"]);
    const tainted = taint(all, "x509-3", later);
    expect(tainted.ok && states(tainted.value)).toEqual(["3 tainted"]);
    const revoked = revoke(all, "x509-2", later);
    expect(revoked.ok && states(revoked.value)).toEqual(["2 revoked"]);
    expect(revoke(all, "x509-5", later)).toMatchObject({ ok: true });
    expect(nextGeneration(all.slice(0, 4), "x509")).toEqual({ ok: true, value: 5 });
  });

  it("may be forced where a key was stolen, before everybody can know the next one", () => {
    expect(activate(all, "x509-5", START, true)).toMatchObject({ ok: true });
  });
});

describe("time", () => {
  it("asks for a first authority, and for another one where the last has ended", () => {
    expect(due([], START)).toEqual({ verb: "replace", kind: "x509" });
    expect(due([authority(1, "active")], START + AUTHORITY_LIFE)).toEqual({ verb: "replace", kind: "x509" });
    const forgotten = authority(2, "prepared");
    expect(due([authority(1, "active"), forgotten], START + AUTHORITY_LIFE)).toEqual({
      verb: "replace",
      kind: "x509",
    });
  });

  it("F8: asks for the next one at half of a life, and for its use at five sixths, never the other way round", () => {
    const active = authority(1, "active");
    const next = authority(2, "prepared", { notAfter: START + 2 * AUTHORITY_LIFE });
    expect(due([active], START + AUTHORITY_LIFE / 2)).toBeUndefined();
    expect(due([active], START + AUTHORITY_LIFE / 2 + 1)).toEqual({ verb: "prepare", kind: "x509" });
    expect(due([active, next], START + AUTHORITY_LIFE / 2 + 1)).toBeUndefined();
    expect(due([active, next], START + (AUTHORITY_LIFE * 5) / 6 + 1)).toEqual({
      verb: "activate",
      authority: next,
    });
  });

  it("takes authorities out of the bundle a day after their end, whatever their state", () => {
    const active = authority(9, "active", { notAfter: START + 10 * AUTHORITY_LIFE });
    const ended = [authority(1, "old"), authority(2, "tainted"), authority(3, "prepared")];
    const end = START + AUTHORITY_LIFE + 24 * HOUR;
    expect(due([...ended, active], end - 1)).toBeUndefined();
    const found = due([...ended, active], end);
    expect(found?.verb === "retire" && states(found.authorities)).toEqual([
      "1 revoked",
      "2 revoked",
      "3 revoked",
    ]);
  });
});
