// SPDX-License-Identifier: Apache-2.0
import {
  createPrivateKey,
  createPublicKey,
  type webcrypto,
  randomBytes,
  sign,
  X509Certificate,
} from "node:crypto";
import { inspect } from "node:util";
import { calculateJwkThumbprint } from "jose";
import { beforeEach, describe, expect, it } from "vitest";
import { verifyJwtSvid } from "@postern/identity/jwt-svid";
import { parseSpiffeId, type SpiffeId } from "@postern/identity/spiffe-id";
import { verifyWitSvid } from "@postern/identity/wit-svid";
import { verifyX509Svid } from "@postern/identity/verify-x509-svid";
import { masterKey } from "../keys/master-key.ts";
import { ecdsaSigningKey, type StoredKey } from "../keys/signing-keys.ts";
import type { AuthorityStore, StoredAuthority } from "../store/authority-store.ts";
import { AUTHORITY_LIFE } from "./authority-life.ts";
import { Issuer, type IssuerParts } from "./issuer.ts";

const HOUR = 3_600_000;
const LIVES = { x509: HOUR, jwt: 300_000 };
const keys = masterKey(randomBytes(32));

let clock: { time: number; now(): number };
let rows: Map<string, StoredAuthority>;
let epoch: number;
let sealed: Map<string, StoredKey>;
let events: string[];
let isAuditBroken: boolean;

const store: AuthorityStore = {
  snapshot: async (trustDomain) => ({
    epoch,
    authorities: [...rows.values()].filter((each) => each.trustDomain === trustDomain),
  }),
  async put(authorities, expected) {
    if (expected !== epoch) return false;
    for (const each of authorities) rows.set(`${each.trustDomain} ${each.kind} ${each.generation}`, each);
    epoch++;
    return true;
  },
};

beforeEach(() => {
  clock = { time: Date.UTC(2026, 5, 1), now: () => clock.time };
  rows = new Map();
  epoch = 0;
  sealed = new Map();
  events = [];
  isAuditBroken = false;
});

const parts = (trustDomain = "corp"): IssuerParts => ({
  trustDomain,
  lives: LIVES,
  authorities: store,
  signingKey: (name) =>
    ecdsaSigningKey(
      name,
      {
        get: async (each) => sealed.get(each),
        putIfAbsent: async (key) => sealed.get(key.name) ?? (sealed.set(key.name, key), key),
      },
      keys,
    ),
  clock,
  async audit(change, authority, operatorUid) {
    if (isAuditBroken) throw new Error("the disk is full");
    events.push(`${change} ${authority} ${operatorUid ?? "-"}`);
  },
});

function idOf(text: string): SpiffeId {
  const id = parseSpiffeId(text);
  if (!id.ok) throw new Error(id.reason);
  return id.value;
}

const ID = idOf("spiffe://corp/agents/one");
const believes = (issuer: Issuer, certificate: Buffer) =>
  verifyX509Svid([certificate], (name) => (name === "corp" ? issuer.bundle : undefined), clock.now());
const believesToken = (issuer: Issuer, token: string) =>
  verifyJwtSvid(token, "api", (name) => (name === "corp" ? issuer.bundle : undefined), clock.now());
const states = (issuer: Issuer) =>
  issuer.authorities.map(({ kind, generation, state }) => `${kind}-${generation} ${state}`).toSorted();

describe("an issuer", () => {
  it("signs for no other trust domain", async () => {
    const issuer = await Issuer.open(parts());
    expect(() => issuer.issueX509(idOf("spiffe://lab/a"))).toThrow("signs for corp only");
    expect(() => issuer.issueJwt(idOf("spiffe://lab/a"), ["api"])).toThrow("signs for corp only");
  });

  it("signs nothing once its authority has ended, rather than what nobody can verify", async () => {
    const issuer = await Issuer.open(parts());
    clock.time += AUTHORITY_LIFE;
    expect(() => issuer.issueX509(ID)).toThrow("has ended");
    expect(() => issuer.issueJwt(ID, ["api"])).toThrow("has ended");
    await issuer.tend();
    expect(believes(issuer, issuer.issueX509(ID).certificate)).toMatchObject({ ok: true });
  });

  it("gives no SVID a longer life than its authority has", async () => {
    const issuer = await Issuer.open(parts());
    clock.time += AUTHORITY_LIFE - 60_000;
    expect(issuer.issueX509(ID).expiresAt).toBe(clock.time + 60_000);
    expect(issuer.issueJwt(ID, ["api"]).expiresAt).toBe(clock.time + 60_000);
  });

  it("makes one authority of each kind at its first start, and uses them after a restart", async () => {
    const first = await Issuer.open(parts());
    expect(states(first)).toEqual(["jwt-1 active", "x509-1 active"]);
    const { certificate } = first.issueX509(ID);
    const second = await Issuer.open(parts());
    expect(states(second)).toEqual(["jwt-1 active", "x509-1 active"]);
    expect(believes(second, certificate)).toMatchObject({ ok: true, value: { id: ID } });
    expect(events).toEqual(["activate jwt-1 -", "activate x509-1 -"]);
  });

  it("F9: keeps trust domains of one store apart", async () => {
    const corp = await Issuer.open(parts());
    const lab = await Issuer.open(parts("lab"));
    const { certificate } = lab.issueX509(idOf("spiffe://lab/a"));
    expect(believes(corp, certificate)).toEqual({ ok: false, reason: "trust_domain_unknown" });
    const asCorp = { ...lab.bundle, trustDomain: "corp" };
    const own = corp.issueX509(ID).certificate;
    expect(verifyX509Svid([own], () => asCorp, clock.now()).ok).toBe(false);
  });

  it("hands out a certificate with the key that belongs to it, and a new one each time", async () => {
    const issuer = await Issuer.open(parts());
    const [first, second] = [issuer.issueX509(ID), issuer.issueX509(ID)];
    const der = first.privateKey.expose("sign");
    const key = createPublicKey(createPrivateKey({ key: der, format: "der", type: "pkcs8" }));
    expect(key.equals(new X509Certificate(first.certificate).publicKey)).toBe(true);
    expect(new X509Certificate(second.certificate).publicKey.equals(key)).toBe(false);
    expect(inspect(first)).not.toContain(der.toString("hex").slice(70, 100));
    expect(JSON.stringify(first)).not.toContain(der.toString("base64").slice(60, 90));
  });

  it("writes keys whose scalar begins with zeros in their full length", async () => {
    const issuer = await Issuer.open(parts());
    for (let round = 0; round < 600; round++) {
      const { certificate, privateKey } = issuer.issueX509(ID);
      const key = createPrivateKey({ key: privateKey.expose("sign"), format: "der", type: "pkcs8" });
      expect(createPublicKey(key).equals(new X509Certificate(certificate).publicKey)).toBe(true);
    }
  });

  it("names its JWT authorities by the thumbprint of their key", async () => {
    const issuer = await Issuer.open(parts());
    const [authority] = issuer.bundle.jwtAuthorities;
    expect(authority?.id).toBe(await calculateJwkThumbprint(authority!.key.export({ format: "jwk" })));
    expect(believesToken(issuer, issuer.issueJwt(ID, ["api"]).token)).toMatchObject({
      ok: true,
      value: { id: ID },
    });
  });
});

describe("a rotation", () => {
  const force = { verb: "activate", isForced: true } as const;

  it("F8: publishes an authority before it signs, and believes the old one until it is revoked", async () => {
    const issuer = await Issuer.open(parts());
    const before = issuer.issueX509(ID);
    await issuer.change({ verb: "prepare", kind: "x509" }, 7);
    expect(issuer.bundle.x509Authorities).toHaveLength(2);
    expect(issuer.issueX509(ID).authority).toBe("x509-1");
    await issuer.change({ ...force, authority: "x509-2" }, 7);
    const after = issuer.issueX509(ID);
    expect(after.authority).toBe("x509-2");
    expect(believes(issuer, before.certificate)).toMatchObject({ ok: true });
    await issuer.change({ verb: "taint", authority: "x509-1" }, 7);
    expect(believes(issuer, before.certificate)).toMatchObject({ ok: true });
    await issuer.change({ verb: "revoke", authority: "x509-1" }, 7);
    expect(believes(issuer, before.certificate)).toEqual({ ok: false, reason: "not_signed_by_trust_domain" });
    expect(believes(issuer, after.certificate)).toMatchObject({ ok: true });
    expect(events.slice(2)).toEqual([
      "prepare x509-2 7",
      "activate x509-2 7",
      "taint x509-1 7",
      "revoke x509-1 7",
    ]);
  });

  it("of JWT authorities goes the same way, apart from the X.509 ones", async () => {
    const issuer = await Issuer.open(parts());
    const { token } = issuer.issueJwt(ID, ["api"]);
    await issuer.change({ verb: "prepare", kind: "jwt" }, 7);
    await issuer.change({ ...force, authority: "jwt-2" }, 7);
    await issuer.change({ verb: "taint", authority: "jwt-1" }, 7);
    expect(believesToken(issuer, token)).toMatchObject({ ok: true });
    await issuer.change({ verb: "revoke", authority: "jwt-1" }, 7);
    expect(believesToken(issuer, token)).toEqual({ ok: false, reason: "authority_unknown" });
    expect(states(issuer)).toEqual(["jwt-1 revoked", "jwt-2 active", "x509-1 active"]);
  });

  it("B5: changes the sequence of the bundle each time, upwards, and says so to whoever listens", async () => {
    const issuer = await Issuer.open(parts());
    const seen = [issuer.bundle.sequence!];
    issuer.onChange(() => seen.push(issuer.bundle.sequence!));
    await issuer.change({ verb: "prepare", kind: "x509" }, 7);
    await issuer.change({ ...force, authority: "x509-2" }, 7);
    expect(seen).toHaveLength(3);
    expect(seen.toSorted((a, b) => (a < b ? -1 : 1))).toEqual(seen);
  });

  it("comes by itself, and no SVID that was issued on the way is ever refused", async () => {
    const issuer = await Issuer.open(parts());
    const used = new Set<string>();
    let held = issuer.issueX509(ID);
    for (let step = 0; step < 24 * 30; step++) {
      clock.time += HOUR / 2;
      await issuer.tend();
      expect(believes(issuer, held.certificate)).toMatchObject({ ok: true });
      held = issuer.issueX509(ID);
      expect(held.expiresAt).toBe(clock.time + HOUR);
      used.add(held.authority);
    }
    expect([...used]).toEqual(["x509-1", "x509-2", "x509-3", "x509-4"]);
    expect(issuer.bundle.x509Authorities.length).toBeLessThan(4);
  });

  it("is not begun while the log cannot be written, but what takes trust away is in force all the same", async () => {
    const issuer = await Issuer.open(parts());
    await issuer.change({ verb: "prepare", kind: "x509" }, 7);
    await issuer.change({ ...force, authority: "x509-2" }, 7);
    await issuer.change({ verb: "taint", authority: "x509-1" }, 7);
    isAuditBroken = true;
    await expect(issuer.change({ verb: "prepare", kind: "x509" }, 7)).rejects.toThrow("the disk is full");
    expect(issuer.bundle.x509Authorities).toHaveLength(2);
    await expect(issuer.change({ verb: "revoke", authority: "x509-1" }, 7)).rejects.toThrow(
      "the disk is full",
    );
    expect(issuer.bundle.x509Authorities).toHaveLength(1);
  });
});

describe("WIT-SVIDs", () => {
  const witParts = (): IssuerParts => ({ ...parts(), hasWit: true });
  const challenge = randomBytes(32);
  const verify = (issuer: Issuer, { token, privateKey }: ReturnType<Issuer["issueWit"]>) => {
    const jwk = JSON.parse(privateKey.expose("sign").toString()) as webcrypto.JsonWebKey;
    const key = createPrivateKey({ key: jwk, format: "jwk" });
    const signature = sign("sha256", challenge, { key, dsaEncoding: "ieee-p1363" });
    return verifyWitSvid(token, { signed: challenge, signature }, () => issuer.bundle, clock.now());
  };

  it("are not issued, and no authority for them can be made, where they were not asked for", async () => {
    const issuer = await Issuer.open(parts());
    expect(() => issuer.issueWit(ID)).toThrow("no wit authority is active");
    expect(await issuer.change({ verb: "prepare", kind: "wit" }, 7)).toMatchObject({ ok: false });
    expect([states(issuer), issuer.bundle.witAuthorities]).toEqual([
      ["jwt-1 active", "x509-1 active"],
      undefined,
    ]);
  });

  it("belong to the key that goes with them, also where its scalar begins with zeros", async () => {
    const issuer = await Issuer.open(witParts());
    for (let round = 0; round < 600; round++)
      expect(verify(issuer, issuer.issueWit(ID))).toMatchObject({ ok: true, value: { id: ID } });
    expect(inspect(issuer.issueWit(ID))).not.toContain('"d"');
  });

  it("have authorities of their own, with names of their own, that rotate like the others", async () => {
    const issuer = await Issuer.open(witParts());
    expect(states(issuer)).toEqual(["jwt-1 active", "wit-1 active", "x509-1 active"]);
    expect(issuer.bundle.witAuthorities?.[0]?.id).not.toBe(issuer.bundle.jwtAuthorities[0]?.id);
    const before = issuer.issueWit(ID);
    await issuer.change({ verb: "prepare", kind: "wit" }, 7);
    await issuer.change({ verb: "activate", authority: "wit-2", isForced: true }, 7);
    await issuer.change({ verb: "taint", authority: "wit-1" }, 7);
    expect([verify(issuer, before).ok, issuer.issueWit(ID).authority]).toEqual([true, "wit-2"]);
    await issuer.change({ verb: "revoke", authority: "wit-1" }, 7);
    expect(verify(issuer, before)).toEqual({ ok: false, reason: "authority_unknown" });
  });

  it("leave nothing behind for good where they are no longer wanted", async () => {
    await Issuer.open(witParts());
    const issuer = await Issuer.open(parts());
    expect(issuer.bundle.witAuthorities).toHaveLength(1);
    clock.time += AUTHORITY_LIFE + 24 * HOUR;
    await issuer.tend();
    expect(issuer.bundle.witAuthorities).toBeUndefined();
    expect(states(issuer).filter((each) => each.startsWith("wit"))).toEqual(["wit-1 revoked"]);
  });
});

describe("two servers on one store", () => {
  it("that start at the same time use the same authorities", async () => {
    const issuers = await Promise.all([Issuer.open(parts()), Issuer.open(parts()), Issuer.open(parts())]);
    for (const issuer of issuers) {
      await issuer.refresh();
      expect(states(issuer)).toEqual(["jwt-1 active", "x509-1 active"]);
      expect(believes(issuers[0], issuer.issueX509(ID).certificate)).toMatchObject({ ok: true });
    }
  });

  it("take over what the other one has changed", async () => {
    const [one, other] = [await Issuer.open(parts()), await Issuer.open(parts())];
    let told = 0;
    other.onChange(() => told++);
    await one.change({ verb: "prepare", kind: "x509" }, 7);
    await other.refresh();
    await other.refresh();
    expect(told).toBe(1);
    expect(await other.change({ verb: "prepare", kind: "x509" }, 7)).toMatchObject({ ok: false });
    expect(other.bundle.x509Authorities).toHaveLength(2);
  });
});
