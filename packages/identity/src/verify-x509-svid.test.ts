// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { outsideData } from "@postern/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as certificate from "./certificate.ts";
import * as der from "./der.ts";
import { readCertificate } from "./read-certificate.ts";
import {
  bundleOf,
  constraints,
  handMade,
  type HandMade,
  names,
  NOW,
  testKey,
  testSvid,
  testTrustDomain,
  usage,
} from "./svid.fixture.ts";
import type { TrustBundle } from "./trust-bundle.ts";
import { verifyX509Svid, type X509SvidRefusal } from "./verify-x509-svid.ts";

const domain = testTrustDomain();
const own = (bundle: TrustBundle) => (trustDomain: string) =>
  trustDomain === bundle.trustDomain ? bundle : undefined;
const verify = (chain: readonly Buffer[], now = NOW, bundle = domain.bundle) =>
  verifyX509Svid(chain, own(bundle), now);

const CERTIFICATE_SIGN = 0x04;
const SIGNATURE = 0x80;
const unknownCritical = certificate.extension("1.2.3.4", true, der.sequence());
const nameConstraints = certificate.extension("2.5.29.30", true, der.sequence());

const purposes = (...ids: string[]): Buffer =>
  certificate.extension("2.5.29.37", false, der.sequence(...ids.map((id) => der.objectIdentifier(id))));

const WRONG_LEAVES: readonly (readonly [string, X509SvidRefusal, HandMade])[] = [
  [
    "X1: two URIs",
    "leaf_names_wrong",
    { names: names(["spiffe://example.org/a", "spiffe://example.org/b"]) },
  ],
  [
    "X1: the same URI twice",
    "leaf_names_wrong",
    { names: names(["spiffe://example.org/a", "spiffe://example.org/a"]) },
  ],
  ["X1: no URI", "leaf_names_wrong", { names: names([]) }],
  ["X1: no names at all", "leaf_names_wrong", { names: undefined }],
  ["X2: an ID without a path", "spiffe_id_without_path", { names: names(["spiffe://example.org"]) }],
  [
    "X3: neither a subject nor critical names",
    "leaf_names_wrong",
    { names: names(["spiffe://example.org/a"], false) },
  ],
  ["X5: an authority", "leaf_is_authority", { constraints: constraints(true) }],
  ["X5: no digital signature", "leaf_usage_wrong", { usage: usage(0x20, 5) }],
  ["X5: signing of certificates", "leaf_usage_wrong", { usage: usage(SIGNATURE | CERTIFICATE_SIGN, 2) }],
  ["X5: signing of revocation lists", "leaf_usage_wrong", { usage: usage(SIGNATURE | 0x02, 1) }],
  ["X6: no key usage", "leaf_usage_wrong", { usage: undefined }],
  ["X6: a key usage that is not critical", "leaf_usage_wrong", { usage: usage(SIGNATURE, 7, false) }],
  ["X7: a purpose for servers only", "leaf_purpose_wrong", { more: [purposes("1.3.6.1.5.5.7.3.1")] }],
  ["X7: a purpose for clients only", "leaf_purpose_wrong", { more: [purposes("1.3.6.1.5.5.7.3.2")] }],
  ["X7: the purpose of programs", "leaf_purpose_wrong", { more: [purposes("1.3.6.1.5.5.7.3.3")] }],
  ["X8: a URI of another scheme", "spiffe_id_malformed", { names: names(["https://example.org/a"]) }],
  ["X8: a SPIFFE ID that is none", "spiffe_id_malformed", { names: names(["spiffe://example.org/a/"]) }],
  ["X8: an unknown critical extension", "critical_extension_unknown", { more: [unknownCritical] }],
  [
    "X10: a trust domain without a bundle",
    "trust_domain_unknown",
    { names: names(["spiffe://other.org/a"]) },
  ],
  ["X11: past its end", "expired", { notAfter: NOW - 1000 }],
  ["X11: before its beginning", "not_yet_valid", { notBefore: NOW + 1000 }],
  ["a key that is too small", "key_refused", { key: testKey("P-192") }],
];

describe("a leaf", () => {
  it.each(WRONG_LEAVES)("is refused with %s", (_, reason, given) => {
    expect(verify([handMade(domain, given)])).toEqual({ ok: false, reason });
  });

  it("is accepted where all of that is right, which the table above depends on", () => {
    expect(verify([handMade(domain, {})])).toMatchObject({ ok: true });
  });

  it("X7: may name purposes, where those of servers and of clients are among them", () => {
    const more = [purposes("1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.5")];
    expect(verify([handMade(domain, { more })])).toMatchObject({ ok: true });
  });

  it("X1: may have names of other forms beside its URI", () => {
    const mixed = certificate.extension(
      "2.5.29.17",
      true,
      der.sequence(
        der.implicit(2, Buffer.from("host.example")),
        der.implicit(6, Buffer.from("spiffe://example.org/a")),
      ),
    );
    expect(verify([handMade(domain, { names: mixed })])).toMatchObject({ ok: true });
  });

  it("is not read beside a name of a form that does not exist", () => {
    const strange = certificate.extension(
      "2.5.29.17",
      true,
      der.sequence(der.implicit(6, Buffer.from("spiffe://example.org/a")), der.implicit(0, Buffer.from("x"))),
    );
    expect(verify([handMade(domain, { names: strange })])).toEqual({
      ok: false,
      reason: "certificate_malformed",
    });
  });

  it("X3: with a subject need not have critical names", () => {
    const subject = certificate.name("somebody");
    const found = verify([handMade(domain, { subject, names: names(["spiffe://example.org/a"], false) })]);
    expect(found).toMatchObject({ ok: true });
  });

  it("X5: may have key encipherment and key agreement", () => {
    expect(verify([handMade(domain, { usage: usage(SIGNATURE | 0x28, 3) })])).toMatchObject({ ok: true });
  });

  it("gives the ID, the end and the serial number that are in it", () => {
    const svid = testSvid(domain, "spiffe://example.org/agents/one");
    const facts = readCertificate(svid);
    expect(verify([svid])).toMatchObject({
      ok: true,
      value: {
        id: { uri: "spiffe://example.org/agents/one", trustDomain: "example.org", path: "/agents/one" },
        expiresAt: NOW + 3_600_000,
        serial: facts.ok ? facts.value.serial : undefined,
      },
    });
  });
});

describe("a chain", () => {
  const middle = testKey();
  const intermediate = (given: HandMade = {}, issuer: Parameters<typeof handMade>[0] = longDomain) =>
    handMade(issuer, {
      key: middle,
      subject: certificate.name("middle"),
      constraints: constraints(true),
      usage: usage(CERTIFICATE_SIGN, 2),
      names: names(["spiffe://example.org"]),
      ...given,
    });
  const below = { key: middle, commonName: "middle" };
  const root = testKey();
  const longDomain = { key: root, commonName: "root" };
  const rootWith = (given: HandMade = {}) =>
    handMade(longDomain, {
      key: root,
      subject: certificate.name("root"),
      constraints: constraints(true),
      usage: usage(CERTIFICATE_SIGN, 2),
      names: names(["spiffe://example.org"]),
      ...given,
    });
  const verifyLong = (chain: readonly Buffer[], anchor = rootWith()) =>
    verify(chain, NOW, bundleOf("example.org", anchor));

  const WRONG_AUTHORITIES: readonly (readonly [string, X509SvidRefusal, HandMade])[] = [
    ["X4: is no authority", "authority_not_one", { constraints: constraints(false) }],
    ["X4: has no basic constraints", "authority_not_one", { constraints: undefined }],
    ["X4: may not sign certificates", "authority_not_one", { usage: usage(0x02, 1) }],
    ["X4: has no key usage", "authority_not_one", { usage: undefined }],
    ["X4: names a workload", "authority_not_one", { names: names(["spiffe://example.org/a"]) }],
    ["X10: names another trust domain", "authority_not_one", { names: names(["spiffe://other.org"]) }],
    ["X11: has ended", "expired", { notAfter: NOW - 1000 }],
    ["X11: has not begun", "not_yet_valid", { notBefore: NOW + 1000 }],
    [
      "X12: limits names, which nobody here computes",
      "critical_extension_unknown",
      { more: [nameConstraints] },
    ],
  ];

  it.each(WRONG_AUTHORITIES)("is refused where an intermediate %s", (_, reason, given) => {
    expect(verifyLong([handMade(below, {}), intermediate(given)])).toEqual({ ok: false, reason });
  });

  it.each(WRONG_AUTHORITIES)("is refused where the authority of the bundle %s", (_, reason, given) => {
    expect(verifyLong([handMade(longDomain, {})], rootWith(given))).toEqual({ ok: false, reason });
  });

  it("is accepted through an intermediate, whatever follows behind what is needed", () => {
    const chain = [handMade(below, {}), intermediate()];
    expect(verifyLong(chain)).toMatchObject({ ok: true });
    expect(verifyLong([...chain, rootWith()])).toMatchObject({ ok: true });
  });

  it("X9: is refused where a workload's own certificate has signed", () => {
    const workload = testKey();
    const signer = handMade(longDomain, { key: workload, subject: certificate.name("workload") });
    const forged = handMade({ key: workload, commonName: "workload" }, {});
    expect(verifyLong([forged, signer])).toEqual({ ok: false, reason: "authority_not_one" });
  });

  it("X8: is refused where it is longer than an authority allows", () => {
    const anchor = rootWith({ constraints: constraints(true, 0) });
    expect(verifyLong([handMade(below, {}), intermediate()], anchor)).toEqual({
      ok: false,
      reason: "authority_not_one",
    });
    expect(verifyLong([handMade(longDomain, {})], anchor)).toMatchObject({ ok: true });
  });

  it("X8: is refused with a signature by another key, or out of order", () => {
    const refused = { ok: false, reason: "not_signed_by_trust_domain" };
    expect(verifyLong([handMade({ key: testKey(), commonName: "root" }, {})])).toEqual(refused);
    expect(verifyLong([handMade({ key: testKey(), commonName: "middle" }, {}), intermediate()])).toEqual(
      refused,
    );
    expect(verifyLong([handMade(below, {})])).toEqual(refused);
    expect(verifyLong([handMade(below, {}), rootWith(), intermediate()])).toEqual(refused);
  });

  it("X10: is refused with an authority of another trust domain, although that is believed for its own", () => {
    const other = testTrustDomain("other.org");
    const forged = testSvid({ ...other, commonName: other.commonName }, "spiffe://example.org/a");
    const both = (trustDomain: string) =>
      [domain.bundle, other.bundle].find((each) => each.trustDomain === trustDomain);
    expect(verifyX509Svid([forged], both, NOW)).toEqual({ ok: false, reason: "not_signed_by_trust_domain" });
    expect(verifyX509Svid([testSvid(other, "spiffe://other.org/a")], both, NOW)).toMatchObject({ ok: true });
  });

  it("X10: is refused by an empty bundle", () => {
    expect(verify([testSvid(domain)], NOW, bundleOf("example.org"))).toEqual({
      ok: false,
      reason: "not_signed_by_trust_domain",
    });
  });

  it("is refused before anything is computed where it is empty or long", () => {
    expect(verify([])).toEqual({ ok: false, reason: "chain_empty" });
    const long = Array.from({ length: 9 }, () => testSvid(domain));
    expect(verify(long)).toEqual({ ok: false, reason: "chain_too_long" });
  });

  it("costs a bounded number of signatures, however many authorities have the same name", () => {
    const many = Array.from(
      { length: 40 },
      () => testTrustDomain("example.org", domain.commonName).authority,
    );
    const bundle = bundleOf("example.org", ...many, domain.authority);
    expect(verify([testSvid(domain)], NOW, bundle)).toMatchObject({ ok: false });
    const few = bundleOf("example.org", ...many.slice(0, 5), domain.authority);
    expect(verify([testSvid(domain)], NOW, few)).toMatchObject({ ok: true });
  });
});

describe("a changed certificate", () => {
  it("is refused, whichever bit was changed", () => {
    const svid = testSvid(domain);
    fc.assert(
      fc.property(fc.nat(svid.length - 1), fc.integer({ min: 0, max: 7 }), (at, bit) => {
        const changed = Buffer.from(svid);
        changed[at]! ^= 1 << bit;
        expect(verify([changed]).ok).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  it("is read or refused, never more, whatever the bytes are", () => {
    const svid = testSvid(domain);
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc
        .tuple(fc.nat(svid.length), fc.nat(svid.length), fc.uint8Array({ maxLength: 20 }))
        .map(([from, to, put]) => Buffer.concat([svid.subarray(0, from), put, svid.subarray(to)])),
    );
    fc.assert(
      fc.property(bytes, (each) => {
        const read = readCertificate(Buffer.from(each));
        expect(read.ok ? read.value.der.length : read.reason).toBeTruthy();
      }),
      { numRuns: 3000 },
    );
  });
});

const data = outsideData("spiffe", "https://github.com/spiffe/go-spiffe");

describe.skipIf(data === undefined)("the files of go-spiffe", () => {
  const folder = join(data ?? "", "svid/x509svid/testdata");
  const at = Date.UTC(2020, 3, 10);
  const chainOf = (file: string): Buffer[] =>
    [
      ...readFileSync(join(folder, file), "latin1").matchAll(
        /-+BEGIN CERTIFICATE-+([^-]+)-+END CERTIFICATE-+/g,
      ),
    ].map(([, text]) => Buffer.from(text!, "base64"));
  const wrong: Readonly<Record<string, X509SvidRefusal>> = {
    "wrong-leaf-ca-true.pem": "leaf_is_authority",
    "wrong-leaf-cert-sign.pem": "leaf_usage_wrong",
    "wrong-leaf-crl-sign.pem": "leaf_usage_wrong",
    "wrong-leaf-empty-id.pem": "leaf_names_wrong",
    "wrong-leaf-no-digital-signature.pem": "leaf_usage_wrong",
    "wrong-intermediate-no-ca.pem": "authority_not_one",
    "wrong-intermediate-no-key-cert-sign.pem": "authority_not_one",
    "corrupt-cert.pem": "certificate_malformed",
  };

  it("are all in the table", () => {
    const files = readdirSync(folder).filter((name) => /^(wrong|corrupt-cert)/.test(name));
    expect(files.toSorted()).toEqual(Object.keys(wrong).toSorted());
  });

  it.each(Object.entries(wrong))("%s is refused: %s", (file, reason) => {
    const chain = chainOf(file);
    expect(chain.length).toBeGreaterThan(0);
    // The leaf's own certificate as the authority: whatever else may be wrong, its own fault comes first.
    const [, ...rest] = chain;
    const facts = rest.flatMap((each) => {
      const read = readCertificate(each);
      return read.ok ? [read.value] : [];
    });
    const bundle = { trustDomain: "example.org", x509Authorities: facts, jwtAuthorities: [] };
    expect(verifyX509Svid(chain, own(bundle), at)).toEqual({ ok: false, reason });
  });

  it("good-leaf-and-intermediate.pem is accepted with the intermediate as authority, and not beyond its hour", () => {
    const chain = chainOf("good-leaf-and-intermediate.pem");
    const bundle = bundleOf("example.org", chain[1]!);
    const inside = Date.UTC(2020, 2, 24, 14, 30);
    expect(verifyX509Svid(chain, own(bundle), inside)).toMatchObject({
      ok: true,
      value: { id: { uri: "spiffe://example.org/workload-1" } },
    });
    expect(verifyX509Svid(chain, own(bundle), inside + 3_600_000)).toEqual({ ok: false, reason: "expired" });
  });

  it("good-leaf-only.pem is read as a good leaf that nobody here has signed", () => {
    const chain = chainOf("good-leaf-only.pem");
    expect(verifyX509Svid(chain, own(bundleOf("example.org", domain.authority)), at)).toEqual({
      ok: false,
      reason: "not_signed_by_trust_domain",
    });
  });
});
