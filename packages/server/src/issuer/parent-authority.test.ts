// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { createPublicKey } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { certificatePem } from "@postern/identity/certificate";
import { splitCertificates } from "@postern/identity/read-certificate";
import { parseSpiffeId } from "@postern/identity/spiffe-id";
import { verifyX509Svid } from "@postern/identity/verify-x509-svid";
import type { StoredAuthority } from "../store/authority-store.ts";
import { Issuer } from "./issuer.ts";
import { type ParentAuthority, parentAuthority, type ParentKey, parentKeyFile } from "./parent-authority.ts";
import { chainPem } from "./signer.ts";
import { signingKey } from "./signing-key.fixture.ts";

const DAY = 86_400_000;
const OPERATOR = 0;
const parsed = parseSpiffeId("spiffe://corp/agents/one");
if (!parsed.ok) throw new Error(parsed.reason);
const ID = parsed.value;

/** Made by OpenSSL: name → files of certificate and key. Some of them should not be parents. */
let made: string;
let folder: string;
let now: number;
let store: { rows: Map<string, StoredAuthority>; epoch: number };

const openssl = (...words: string[]): string =>
  execFileSync("openssl", words, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
const file = (name: string, kind: "pem" | "key"): string => join(made, `${name}.${kind}`);
const text = (name: string): string => readFileSync(file(name, "pem"), "utf8");

const CA = "basicConstraints=critical,CA:true";
const SIGNS = "keyUsage=critical,keyCertSign,cRLSign";
const P256 = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

function make(
  name: string,
  key: readonly string[],
  more: { by?: string; days?: number; extensions?: string[] },
) {
  const { by, days = 30, extensions = [CA, SIGNS] } = more;
  const signer = by === undefined ? [] : ["-CA", file(by, "pem"), "-CAkey", file(by, "key")];
  openssl(
    ...["req", "-x509", "-newkey", ...key, "-nodes", "-keyout", file(name, "key"), "-out", file(name, "pem")],
    ...["-subj", `/O=Example/CN=${name}`, "-days", String(days), ...signer],
    ...extensions.flatMap((each) => ["-addext", each]),
  );
}

beforeAll(() => {
  made = mkdtempSync(join(tmpdir(), "postern-parents-"));
  make("rsa", ["rsa:2048"], {});
  make("p256", P256, {});
  make("p384", ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"], { by: "rsa" });
  make("flat", P256, { extensions: [`${CA},pathlen:0`, SIGNS] });
  make("leaf", P256, { by: "rsa", extensions: ["basicConstraints=critical,CA:false"] });
  make("other-domain", P256, { extensions: [CA, SIGNS, "subjectAltName=URI:spiffe://elsewhere"] });
  make("names", P256, { extensions: [CA, SIGNS, "nameConstraints=critical,permitted;URI:elsewhere"] });
  make("weak", ["rsa:1024"], {});
  make("p521", ["ec", "-pkeyopt", "ec_paramgen_curve:P-521"], {});
  openssl(
    ...["pkey", "-in", file("p256", "key"), "-aes128", "-passout", "pass:x", "-out", file("locked", "key")],
  );
}, 30_000);
afterAll(() => rmSync(made, { recursive: true }));

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-parent-"));
  now = Date.now();
  store = { rows: new Map(), epoch: 0 };
});
afterEach(() => rmSync(folder, { recursive: true }));

function parentOf(certificates: string, key: string | ParentKey): ParentAuthority {
  const path = join(folder, "parent.pem");
  writeFileSync(path, certificates);
  return parentAuthority(path, typeof key === "string" ? parentKeyFile(key) : key);
}

const keys = new Map<string, ReturnType<typeof signingKey>>();
const openIssuer = (parent?: ParentAuthority): Promise<Issuer> =>
  Issuer.open({
    ...{ trustDomain: "corp", lives: { x509: 3_600_000, jwt: 300_000 }, parent },
    ...{ clock: { now: () => now }, audit: async () => {} },
    authorities: {
      snapshot: async () => ({ epoch: store.epoch, authorities: [...store.rows.values()] }),
      async put(authorities) {
        for (const each of authorities) store.rows.set(`${each.kind} ${each.generation}`, each);
        store.epoch++;
        return true;
      },
    },
    async signingKey(name) {
      const key = keys.get(name) ?? signingKey(name);
      keys.set(name, key);
      return key;
    },
  });

async function change(issuer: Issuer, ...words: string[]): Promise<string> {
  const [verb, about = ""] = words;
  const asked =
    verb === "prepare"
      ? ({ verb, kind: "x509" } as const)
      : verb === "activate"
        ? ({ verb, authority: about, isForced: true } as const)
        : ({ verb: verb as "taint" | "revoke", authority: about } as const);
  const done = await issuer.change(asked, OPERATOR);
  return done.ok ? done.value : done.reason;
}

const believed = (issuer: Issuer): string =>
  issuer.bundle.x509Authorities.map(({ der }) => certificatePem(der)).join("");

describe("a parent that should not be one", () => {
  it.each([
    ["allows nothing below it", () => parentOf(text("flat"), file("flat", "key")), "authority_not_one"],
    ["is no authority", () => parentOf(text("leaf") + text("rsa"), file("leaf", "key")), "authority_not_one"],
    [
      "is of another trust domain",
      () => parentOf(text("other-domain"), file("other-domain", "key")),
      "not_one",
    ],
    [
      "has rules that we cannot check",
      () => parentOf(text("names"), file("names", "key")),
      "critical_extension",
    ],
    ["has a weak key", () => parentOf(text("weak"), file("weak", "key")), "are no chain"],
    ["has a key that cannot be used here", () => parentOf(text("p521"), file("p521", "key")), "must be RSA"],
    ["has another key", () => parentOf(text("p256"), file("rsa", "key")), "is not that of"],
    [
      "has a key under a passphrase",
      () => parentOf(text("p256"), file("locked", "key")),
      "without a passphrase",
    ],
    ["has no key file", () => parentOf(text("p256"), join(folder, "none")), "ENOENT"],
    ["has no root", () => parentOf(text("p384"), file("p384", "key")), "are no chain"],
    [
      "stands in the wrong order",
      () => parentOf(text("rsa") + text("p384"), file("rsa", "key")),
      "are no chain",
    ],
    [
      "has more above it than there should be",
      () => parentOf(text("rsa").repeat(7), file("rsa", "key")),
      "too many",
    ],
    ["is not there", () => parentOf("", file("rsa", "key")), "no certificate"],
    [
      "is no certificate",
      () => parentOf(text("rsa").replace(/\nMII/, "\nMAA"), file("rsa", "key")),
      "malformed",
    ],
    [
      "has a key elsewhere that signs something else",
      () =>
        parentOf(text("p256"), { ...parentKeyFile(file("p256", "key")), sign: async () => Buffer.alloc(70) }),
      "not_signed_by_trust_domain",
    ],
    [
      "has a key elsewhere that fails, whatever it says",
      () =>
        parentOf(text("p256"), {
          publicKey: async () => createPublicKey(text("p256")),
          sign: () => Promise.reject(new Error(readFileSync(file("p256", "key"), "utf8"))),
        }),
      "its certificates or its key: failed",
    ],
  ])("is refused: it %s", async (_, parent, reason) => {
    const opened = openIssuer(parent()).then(
      () => "opened",
      (error: unknown) => String(error),
    );
    expect(await opened).toContain(reason);
    expect(await opened).not.toContain("PRIVATE KEY");
    expect([...store.rows.keys()].filter((each) => each.startsWith("x509"))).toEqual([]);
  });

  it("is refused where it ends before an SVID would", async () => {
    now += 30 * DAY - 1_800_000;
    await expect(openIssuer(parentOf(text("p256"), file("p256", "key")))).rejects.toThrow("within an hour");
  });
});

describe("an authority with a parent", () => {
  it.each([
    ["p256", 1],
    ["rsa", 1],
    ["p384", 2],
  ])("signs what OpenSSL and we verify by the root of %s alone", async (name, length) => {
    const roots = name === "p384" ? text("rsa") : text(name);
    const chain = name === "p384" ? text(name) + roots : roots;
    const issuer = await openIssuer(parentOf(chain, file(name, "key")));
    const svid = issuer.issueX509(ID);
    const between = splitCertificates(svid.chain);
    expect([between.length, believed(issuer)]).toEqual([length, roots]);
    const verified = verifyX509Svid([svid.certificate, ...between], () => issuer.bundle, now);
    expect(verified).toMatchObject({ ok: true, value: { id: { uri: ID.uri } } });
    const [all, root] = [join(folder, "all.pem"), join(folder, "root.pem")];
    writeFileSync(all, chainPem(svid));
    writeFileSync(root, believed(issuer));
    const words = [
      "verify",
      "-x509_strict",
      "-purpose",
      "sslclient",
      "-CAfile",
      root,
      "-untrusted",
      all,
      all,
    ];
    expect(openssl(...words)).toContain("OK");
    // Without what lies between, nobody can.
    expect(verifyX509Svid([svid.certificate], () => issuer.bundle, now).ok).toBe(false);
    expect(issuer.bundle.jwtAuthorities).toHaveLength(1);
  });

  it("ends with its parent, and what it signs with it", async () => {
    now += 28 * DAY;
    const issuer = await openIssuer(parentOf(text("p256"), file("p256", "key")));
    const [x509] = issuer.authorities.filter(({ kind }) => kind === "x509");
    expect(x509!.notAfter - now).toBeLessThanOrEqual(2 * DAY);
    now = x509!.notAfter - 60_000;
    expect(issuer.issueX509(ID).expiresAt).toBe(x509!.notAfter);
  });

  it("is followed by another of the same root, which is published once, and is not revoked while that is wanted", async () => {
    const issuer = await openIssuer(parentOf(text("p256"), file("p256", "key")));
    const before = issuer.issueX509(ID);
    expect(await change(issuer, "prepare")).toBe("x509-2");
    expect(believed(issuer)).toBe(text("p256"));
    await change(issuer, "activate", "x509-2");
    const after = issuer.issueX509(ID);
    expect(after.chain.equals(before.chain)).toBe(false);
    await change(issuer, "taint", "x509-1");
    expect(await change(issuer, "revoke", "x509-1")).toContain("have one parent");
    expect(verifyX509Svid([before.certificate, before.chain], () => issuer.bundle, now).ok).toBe(true);
    now += 9 * DAY;
    await issuer.tend();
    expect(issuer.authorities.find(({ generation }) => generation === 1)).toMatchObject({ state: "revoked" });
  });

  it("moves to another parent, that of our own included, and then can be revoked", async () => {
    const own = await openIssuer();
    const parent = parentOf(text("p256"), file("p256", "key"));
    const issuer = await openIssuer(parent);
    expect(issuer.issueX509(ID).chain).toHaveLength(0);
    await change(issuer, "prepare");
    expect(issuer.bundle.x509Authorities).toHaveLength(2);
    await change(issuer, "activate", "x509-2");
    await change(issuer, "taint", "x509-1");
    expect(await change(issuer, "revoke", "x509-1")).toBe("x509-1");
    const below = issuer.issueX509(ID);
    // The parent is replaced in place: its files are read for each new authority.
    parentOf(text("p384") + text("rsa"), "");
    expect(await change(issuer, "prepare")).toContain("is not that of");
    const moved = await openIssuer(parentOf(text("p384") + text("rsa"), file("p384", "key")));
    await change(moved, "prepare");
    await change(moved, "activate", "x509-3");
    await change(moved, "taint", "x509-2");
    expect(await change(moved, "revoke", "x509-2")).toBe("x509-2");
    expect(believed(moved)).toBe(text("rsa"));
    expect(verifyX509Svid([below.certificate, below.chain], () => moved.bundle, now).ok).toBe(false);
    expect(own.trustDomain).toBe("corp");
  });

  it("goes on while its parent is away, and is followed when the parent is back", async () => {
    const path = join(folder, "parent.pem");
    const issuer = await openIssuer(parentOf(text("p256"), file("p256", "key")));
    rmSync(path);
    now += 4 * DAY;
    expect(await change(issuer, "prepare")).toContain("ENOENT");
    await expect(issuer.tend()).rejects.toThrow("the parent authority has not signed");
    expect(issuer.issueX509(ID).authority).toBe("x509-1");
    writeFileSync(path, text("p256"));
    await issuer.tend();
    expect(issuer.authorities.map(({ kind, generation }) => `${kind}-${generation}`)).toContain("x509-2");
  });
});
