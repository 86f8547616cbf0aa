// SPDX-License-Identifier: Apache-2.0
/** Do others accept what is issued? OpenSSL in its strict mode, and parsers that share no code with it or with us. */
import { execFileSync } from "node:child_process";
import { createPrivateKey, createPublicKey, generateKeyPairSync, webcrypto } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
// First: tsyringe, below x509, refuses to load without it.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { createLocalJWKSet, type JWK, jwtVerify } from "jose";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { certificatePem } from "@postern/identity/certificate";
import { parseSpiffeId, type SpiffeId } from "@postern/identity/spiffe-id";
import { printTrustBundle } from "@postern/identity/trust-bundle";
import type { StoredAuthority } from "../store/authority-store.ts";
import { Issuer } from "./issuer.ts";
import { signingKey } from "./signing-key.fixture.ts";

const START = Date.UTC(2026, 5, 1);
const LIVES = { x509: 3_600_000, jwt: 300_000 };
const OPERATOR = 0;

let folder: string;
let now: number;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "postern-issued-"))));
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(() => void (now = START));

async function openIssuer(trustDomain: string): Promise<Issuer> {
  const rows = new Map<string, StoredAuthority>();
  const keys = new Map<string, ReturnType<typeof signingKey>>();
  let epoch = 0;
  return Issuer.open({
    ...{ trustDomain, lives: LIVES, clock: { now: () => now }, audit: async () => {} },
    authorities: {
      snapshot: async () => ({ epoch, authorities: [...rows.values()] }),
      async put(authorities) {
        for (const each of authorities) rows.set(`${each.kind} ${each.generation}`, each);
        epoch++;
        return true;
      },
    },
    async signingKey(name) {
      const key = keys.get(name) ?? signingKey(name);
      keys.set(name, key);
      return key;
    },
  });
}

function idIn(trustDomain: string): SpiffeId {
  const id = parseSpiffeId(`spiffe://${trustDomain}/agents/one`);
  if (!id.ok) throw new Error(id.reason);
  return id.value;
}

async function rotate(issuer: Issuer, kind: "x509" | "jwt", isRevoked: boolean): Promise<void> {
  const prepared = await issuer.change({ verb: "prepare", kind }, OPERATOR);
  if (!prepared.ok) throw new Error(prepared.reason);
  const verbs = [
    { verb: "activate", authority: prepared.value, isForced: true },
    { verb: "taint", authority: `${kind}-1` },
    ...(isRevoked ? [{ verb: "revoke", authority: `${kind}-1` } as const] : []),
  ] as const;
  for (const each of verbs) {
    // eslint-disable-next-line no-await-in-loop
    const done = await issuer.change(each, OPERATOR);
    if (!done.ok) throw new Error(done.reason);
  }
}

/** What the trust domain publishes, as whoever reads it by JSON alone understands it. */
function published(issuer: Issuer): { authorities: Buffer[]; keys: JWK[] } {
  const { keys } = JSON.parse(printTrustBundle(issuer.bundle, "everything")) as { keys: JWK[] };
  return {
    authorities: keys.flatMap(({ use, x5c }) =>
      use === "x509-svid" ? [Buffer.from(x5c![0]!, "base64")] : [],
    ),
    // What SPIFFE uses a key for is no use that RFC 7517 knows.
    keys: keys.flatMap(({ use, ...key }) => (use === "jwt-svid" ? [key] : [])),
  };
}

/** Throws where OpenSSL has anything to say about the leaf. */
function openssl(leaf: Buffer, authorities: readonly Buffer[], purpose: string): string {
  writeFileSync(join(folder, "leaf.pem"), certificatePem(leaf));
  writeFileSync(join(folder, "authorities.pem"), authorities.map(certificatePem).join(""));
  const words = [
    "verify",
    "-x509_strict",
    "-check_ss_sig",
    "-purpose",
    purpose,
    "-attime",
    String(now / 1000),
  ];
  return execFileSync("openssl", [...words, "-CAfile", "authorities.pem", "leaf.pem"], {
    ...{ cwd: folder, stdio: ["ignore", "pipe", "ignore"] },
  }).toString();
}

/** Whether the other implementation finds a path to one of the authorities, and every signature and time on it right. */
async function isAcceptedElsewhere(leaf: Buffer, authorities: readonly Buffer[]): Promise<boolean> {
  const certificates = authorities.map((each) => new x509.X509Certificate(each));
  const crypto = webcrypto;
  const chain = await new x509.X509ChainBuilder({ certificates }).build(
    new x509.X509Certificate(leaf),
    crypto,
  );
  const verdicts = chain.map((each, index) => {
    const { publicKey } = chain[index + 1] ?? each;
    return each.verify({ publicKey, date: new Date(now) }, crypto);
  });
  const isAnchored = certificates.some((each) => each.equal(chain.at(-1)!));
  return isAnchored && (await Promise.all(verdicts)).every((isRight) => isRight);
}

const ownKey = (): Buffer =>
  generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ format: "der", type: "spki" });

const KINDS: readonly (readonly [string, (issuer: Issuer, id: SpiffeId) => Buffer])[] = [
  ["an X.509-SVID with its key", (issuer, id) => issuer.issueX509(id).certificate],
  ["an X.509-SVID for a key of its holder", (issuer, id) => issuer.issueX509ForKey(id, ownKey()).certificate],
  [
    "an X.509-SVID with host names and addresses",
    (issuer, id) => issuer.issueX509(id, ["gate.corp.example", Buffer.from([127, 0, 0, 1])]).certificate,
  ],
];

const MOMENTS: readonly (readonly [string, (issuer: Issuer) => Promise<void>])[] = [
  ["of the first authority", async () => {}],
  ["while two authorities are published", (issuer) => rotate(issuer, "x509", false)],
  ["after the first authority was revoked", (issuer) => rotate(issuer, "x509", true)],
];

describe.each(KINDS)("%s", (_, issue) => {
  it.each(MOMENTS)("X3, X5, X6, X8: is accepted by OpenSSL and by another parser, %s", async (__, change) => {
    const issuer = await openIssuer("corp");
    await change(issuer);
    const leaf = issue(issuer, idIn("corp"));
    const { authorities } = published(issuer);
    for (const purpose of ["sslserver", "sslclient"])
      expect(openssl(leaf, authorities, purpose)).toContain("leaf.pem: OK");
    expect(await isAcceptedElsewhere(leaf, authorities)).toBe(true);
    const names = new x509.X509Certificate(leaf).getExtension(x509.SubjectAlternativeNameExtension);
    expect(names?.names.toJSON().filter(({ type }) => type === "url")).toEqual([
      { type: "url", value: "spiffe://corp/agents/one" },
    ]);
  });

  it("X10, F9: is accepted with what its own trust domain publishes, and not with a partner's", async () => {
    const [issuer, partner] = [await openIssuer("corp"), await openIssuer("partner.example")];
    const leaf = issue(partner, idIn("partner.example"));
    expect(openssl(leaf, published(partner).authorities, "sslclient")).toContain("leaf.pem: OK");
    expect(await isAcceptedElsewhere(leaf, published(partner).authorities)).toBe(true);
    expect(() => openssl(leaf, published(issuer).authorities, "sslclient")).toThrow("Command failed");
    expect(await isAcceptedElsewhere(leaf, published(issuer).authorities)).toBe(false);
  });

  it("X8, X11: of a revoked authority, or from another time, is refused by both", async () => {
    const issuer = await openIssuer("corp");
    const leaf = issue(issuer, idIn("corp"));
    const before = published(issuer).authorities;
    now += LIVES.x509 + 1000;
    expect(() => openssl(leaf, before, "sslclient")).toThrow("Command failed");
    expect(await isAcceptedElsewhere(leaf, before)).toBe(false);
    now = START;
    await rotate(issuer, "x509", true);
    expect(() => openssl(leaf, published(issuer).authorities, "sslclient")).toThrow("Command failed");
    expect(await isAcceptedElsewhere(leaf, published(issuer).authorities)).toBe(false);
  });
});

it.each(MOMENTS)("X4: authorities are accepted by OpenSSL and by another parser, %s", async (_, change) => {
  const issuer = await openIssuer("corp");
  await change(issuer);
  const { authorities } = published(issuer);
  expect(authorities.length).toBeGreaterThan(0);
  for (const authority of authorities) {
    expect(openssl(authority, authorities, "any")).toContain("leaf.pem: OK");
    expect(await isAcceptedElsewhere(authority, authorities)).toBe(true);
  }
});

it("W8: the key of an X.509-SVID is accepted by OpenSSL, and is that of its certificate", async () => {
  const issuer = await openIssuer("corp");
  // Scalars that begin with a zero are one in 256.
  for (let round = 0; round < 600; round++) {
    const { certificate, privateKey } = issuer.issueX509(idIn("corp"));
    const pkcs8 = privateKey.expose("issue");
    const key = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
    const spki = createPublicKey(key).export({ format: "der", type: "spki" });
    expect(certificate.includes(spki)).toBe(true);
    if (round > 2) continue;
    const words = ["pkey", "-inform", "DER", "-check", "-noout"];
    expect(execFileSync("openssl", words, { input: pkcs8 }).toString()).toContain("Key is valid");
  }
});

const TOKEN_MOMENTS: readonly (readonly [string, (issuer: Issuer) => Promise<void>])[] = [
  ["of the first authority", async () => {}],
  ["while two authorities are published", (issuer) => rotate(issuer, "jwt", false)],
  ["after the first authority was revoked", (issuer) => rotate(issuer, "jwt", true)],
];

describe("a JWT-SVID", () => {
  const check = (token: string, issuer: Issuer) =>
    jwtVerify(token, createLocalJWKSet({ keys: published(issuer).keys }), {
      ...{ audience: "api", algorithms: ["ES256"], currentDate: new Date(now) },
      requiredClaims: ["sub", "aud", "exp"],
    });

  it.each(TOKEN_MOMENTS)("J1, J3, J5: is accepted by another library, %s", async (_, change) => {
    const issuer = await openIssuer("corp");
    await change(issuer);
    const { payload, protectedHeader } = await check(issuer.issueJwt(idIn("corp"), ["api"]).token, issuer);
    expect(payload.sub).toBe("spiffe://corp/agents/one");
    expect(Object.keys(protectedHeader).toSorted()).toEqual(["alg", "kid", "typ"]);
  });

  it("J6: is refused with the keys of a partner, and with those that are left after a revocation", async () => {
    const [issuer, partner] = [await openIssuer("corp"), await openIssuer("partner.example")];
    const { token } = issuer.issueJwt(idIn("corp"), ["api"]);
    await expect(check(token, partner)).rejects.toMatchObject({ code: "ERR_JWKS_NO_MATCHING_KEY" });
    await rotate(issuer, "jwt", true);
    await expect(check(token, issuer)).rejects.toMatchObject({ code: "ERR_JWKS_NO_MATCHING_KEY" });
  });
});
