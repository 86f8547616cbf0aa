// SPDX-License-Identifier: Apache-2.0
import { generateKeyPairSync } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { outsideData } from "@postern/testkit";
import { calculateJwkThumbprint, importJWK } from "jose";
import { describe, expect, it } from "vitest";
import { testSvid, testTrustDomain } from "./svid.fixture.ts";
import { parseTrustBundle, printTrustBundle, type TrustBundle } from "./trust-bundle.ts";

const domain = testTrustDomain();
const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const bundle: TrustBundle = {
  ...domain.bundle,
  jwtAuthorities: [{ id: "one", key: publicKey }],
  sequence: 9_007_199_254_740_993n,
  refreshHint: 300,
};

type Entry = Record<string, unknown>;
const printed = JSON.parse(printTrustBundle(bundle, "everything")) as { keys: [Entry, Entry] };
const [x509Key, jwtKey] = printed.keys;
const parse = (document: unknown) =>
  parseTrustBundle(
    "example.org",
    Buffer.from(typeof document === "string" ? document : JSON.stringify(document)),
  );
const sizes = (document: unknown) => {
  const found = parse(document);
  return found.ok ? [found.value.x509Authorities.length, found.value.jwtAuthorities.length] : found.reason;
};
const without = (entry: Entry, name: string): Entry =>
  Object.fromEntries(Object.entries(entry).filter(([key]) => key !== name));
const leaf = testSvid(domain).toString("base64");
const ed25519 = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" });
const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey.export({ format: "jwk" });

const REFUSED: readonly (readonly [string, unknown])[] = [
  ["no JSON", "{"],
  ["a list", []],
  ["B1: no `keys`", {}],
  ["B1: `keys` that is no list", { keys: {} }],
  ["a member that stands twice", `{"keys":[],"keys":[]}`],
  ["too many keys", { keys: Array.from({ length: 201 }, () => jwtKey) }],
  ["too many bytes", `{"keys":[]${" ".repeat(1_048_576)}}`],
  ["B3: an authority that is no certificate", { keys: [{ ...x509Key, x5c: ["AAAA"] }] }],
  ["B3: an authority that is a workload's certificate", { keys: [{ ...x509Key, x5c: [leaf] }] }],
  ["B3: a certificate in base64url", { keys: [{ ...x509Key, x5c: [`-${leaf.slice(1)}`] }] }],
  ["B3: a certificate that is no text", { keys: [{ ...x509Key, x5c: [1] }] }],
  ["B4: a JWT authority without `kid`", { keys: [without(jwtKey, "kid")] }],
  ["B4: two JWT authorities with one `kid`", { keys: [jwtKey, jwtKey] }],
  ["B4: a WIT authority without `kid`", { keys: [{ ...without(jwtKey, "kid"), use: "wit-svid" }] }],
  [
    "B4: a WIT authority with the `kid` of a JWT authority",
    { keys: [jwtKey, { ...jwtKey, use: "wit-svid" }] },
  ],
  ["B4: a WIT authority that shows its private key", { keys: [{ ...jwtKey, use: "wit-svid", d: "AAAA" }] }],
  ["B4: a JWT authority that shows its private key", { keys: [{ ...jwtKey, d: "AAAA" }] }],
  ["B4: a JWT authority that is a weak key", { keys: [{ ...weak, use: "jwt-svid", kid: "weak" }] }],
  ["B4: a JWT authority with a broken point", { keys: [{ ...jwtKey, x: "AAAA" }] }],
  ["B5: a sequence that is text", { keys: [], spiffe_sequence: "1" }],
  ["B5: a sequence that is negative", { keys: [], spiffe_sequence: -1 }],
  ["B5: a sequence that is a fraction", { keys: [], spiffe_sequence: 1.5 }],
  ["B6: a refresh hint that is a fraction", { keys: [], spiffe_refresh_hint: 1.5 }],
];

const ACCEPTED: readonly (readonly [string, readonly [number, number], unknown])[] = [
  ["B1: no keys at all: everything is revoked", [0, 0], { keys: [] }],
  ["B2: an entry without `kty`, passed over", [1, 0], { keys: [x509Key, without(jwtKey, "kty")] }],
  [
    "B2: an entry of an unknown `kty`, passed over",
    [1, 0],
    { keys: [x509Key, { ...ed25519, use: "jwt-svid", kid: "e" }] },
  ],
  ["B2: an entry without `use`, passed over", [0, 1], { keys: [without(x509Key, "use"), jwtKey] }],
  ["B2: an entry of an unknown `use`, passed over", [0, 1], { keys: [{ ...x509Key, use: "sig" }, jwtKey] }],
  ["B2: a `use` in other letters, passed over", [0, 1], { keys: [{ ...x509Key, use: "X509-SVID" }, jwtKey] }],
  ["B2: an entry that is no object, passed over", [0, 1], { keys: [null, "x", jwtKey] }],
  ["B3: an entry without a certificate, passed over", [0, 1], { keys: [without(x509Key, "x5c"), jwtKey] }],
  [
    "B3: more than one certificate: the first counts",
    [1, 0],
    { keys: [{ ...x509Key, x5c: [...(x509Key["x5c"] as string[]), leaf] }] },
  ],
  ["B5, B6: neither a sequence nor a refresh hint", [1, 1], { keys: [x509Key, jwtKey] }],
  [
    "B7: parameters that nobody knows",
    [1, 1],
    { keys: [{ ...x509Key, alg: "ES256", other: 1 }, jwtKey], more: {} },
  ],
];

describe("a trust bundle", () => {
  it.each(REFUSED)("is refused with %s", (_, document) => {
    expect(parse(document)).toEqual({ ok: false, reason: expect.any(String) });
  });

  it.each(ACCEPTED)("is accepted with %s", (_, expected, document) => {
    expect(sizes(document)).toEqual(expected);
  });

  it("B3, B4: is printed with one certificate and no `kid` for X.509, and a `kid` for JWT", () => {
    expect(Object.keys(x509Key).toSorted()).toEqual(["crv", "kty", "use", "x", "x5c", "y"]);
    expect(x509Key["x5c"]).toEqual([domain.authority.toString("base64")]);
    expect(jwtKey).toMatchObject({ kid: "one", kty: "EC", use: "jwt-svid" });
  });

  it("B5, B6: comes back as it was printed, its sequence to the last digit", () => {
    const again = parseTrustBundle("example.org", Buffer.from(printTrustBundle(bundle, "everything")));
    if (!again.ok) throw new Error(again.reason);
    expect(again.value.sequence).toBe(9_007_199_254_740_993n);
    expect(again.value.refreshHint).toBe(300);
    expect(again.value.x509Authorities[0]?.der).toEqual(domain.authority);
    expect(again.value.jwtAuthorities[0]?.key.equals(publicKey)).toBe(true);
  });

  it("W11: holds no X.509 authority in the form for validators of JWT-SVIDs", () => {
    const only = JSON.parse(printTrustBundle(bundle, "jwt")) as object;
    expect(only).toEqual({ keys: [jwtKey] });
  });

  it("is read by another implementation as the keys that are in it", async () => {
    for (const [entry, key] of [
      [jwtKey, publicKey],
      [x509Key, undefined],
    ] as const) {
      await expect(importJWK(entry, "ES256")).resolves.toBeDefined();
      if (key !== undefined)
        expect(await calculateJwkThumbprint(entry)).toBe(
          await calculateJwkThumbprint(key.export({ format: "jwk" })),
        );
    }
  });
});

const data = outsideData("spiffe", "https://github.com/spiffe/go-spiffe");

describe("a JWK Set in which no key has a use", () => {
  const plain = { keys: [without(jwtKey, "use")] };
  const counts = (document: unknown, form: "trust-bundle" | "jwt-keys") => {
    const found = parseTrustBundle("example.org", Buffer.from(JSON.stringify(document)), form);
    return found.ok ? [found.value.x509Authorities.length, found.value.jwtAuthorities.length] : found.reason;
  };

  it("B2: believes nobody as a trust bundle, and is all JWT authorities where the Workload API gives it", () => {
    expect(counts(plain, "trust-bundle")).toEqual([0, 0]);
    expect(counts(plain, "jwt-keys")).toEqual([0, 1]);
  });

  it.each(["jwt-svid", "x509-svid", "sig", ""])("is asked for the use of all where one has %j", (use) => {
    const document = { keys: [...plain.keys, { ...jwtKey, kid: "two", use }] };
    expect(counts(document, "jwt-keys")).toEqual([0, use === "jwt-svid" ? 1 : 0]);
  });

  it("B4: is of no use with a key without `kid`", () => {
    expect(counts({ keys: [without(plain.keys[0]!, "kid")] }, "jwt-keys")).toEqual(expect.any(String));
  });
});

describe.skipIf(data === undefined)("the bundles of go-spiffe", () => {
  const expected: Readonly<Record<string, readonly [number, number] | undefined>> = {
    "bundle/jwtbundle/testdata/jwks_missing_kid.json": [0, 0],
    "bundle/jwtbundle/testdata/jwks_valid_1.json": [0, 0],
    "bundle/jwtbundle/testdata/jwks_valid_2.json": [0, 0],
    "bundle/spiffebundle/testdata/spiffebundle_missing_kid.json": undefined,
    "bundle/spiffebundle/testdata/spiffebundle_multiple_x509.json": [1, 1],
    "bundle/spiffebundle/testdata/spiffebundle_no_keys.json": undefined,
    "bundle/spiffebundle/testdata/spiffebundle_valid_1.json": [1, 1],
    "bundle/spiffebundle/testdata/spiffebundle_valid_2.json": [1, 6],
    "bundle/spiffebundle/testdata/spiffebundle_valid_with_wit.json": [1, 2],
  };

  it("are all in the table", () => {
    const files = readdirSync(data!, { recursive: true, encoding: "utf8" })
      .filter((file) => /^bundle\/.*\.json$/.test(file))
      .toSorted();
    expect(files).toEqual(Object.keys(expected));
  });

  it.each(Object.entries(expected))("%s is read as it was meant: %j", (file, counts) => {
    const found = parse(readFileSync(join(data!, file), "utf8"));
    if (counts === undefined) expect(found).toEqual({ ok: false, reason: expect.any(String) });
    else expect(sizes(readFileSync(join(data!, file), "utf8"))).toEqual(counts);
  });
});

describe("WIT authorities", () => {
  const witAuthorities = [{ id: "two", key: generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey }];
  const whole: TrustBundle = { ...bundle, witAuthorities };
  const uses = (which: "everything" | "jwt" | "wit", of: TrustBundle) =>
    (JSON.parse(printTrustBundle(of, which)) as { keys: Entry[] }).keys.map(({ kid, use }) => [use, kid]);

  it("B4: are read apart from those of JWT-SVIDs, and come back as they were written", () => {
    const found = parse(printTrustBundle(whole, "everything"));
    expect(found).toMatchObject({ ok: true, value: { jwtAuthorities: [{ id: "one" }] } });
    const read = found.ok ? found.value.witAuthorities : undefined;
    expect(read?.map(({ id, key }) => [id, key.equals(witAuthorities[0]!.key)])).toEqual([["two", true]]);
  });

  it("W11: are in no answer for other documents", () => {
    expect(uses("jwt", whole)).toEqual([["jwt-svid", "one"]]);
    expect(uses("wit", whole)).toEqual([["wit-svid", "two"]]);
    expect(uses("wit", bundle)).toEqual([]);
    expect(uses("everything", whole).map(([use]) => use)).toEqual(["x509-svid", "jwt-svid", "wit-svid"]);
  });
});
