// SPDX-License-Identifier: Apache-2.0
/** The files that go-spiffe is tested with, as a Workload API would hand them out. */
import { X509Certificate } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { mapField } from "@postern/identity/protobuf";
import { outsideData } from "@postern/testkit";
import { describe, expect, it } from "vitest";
import { readJwtState } from "./jwt-state.ts";
import type { SpiffeError } from "./spiffe-error.ts";
import { liveKey, svidMessage, x509Response } from "./trust-domain.fixture.ts";
import { readX509Bundles, readX509State } from "./x509-state.ts";

const data = outsideData("spiffe", "https://github.com/spiffe/go-spiffe");
const folder = data ?? "";
const filesOf = (path: string): string[] => readdirSync(join(folder, path)).toSorted();

const pemOf = (file: string, label: string): Buffer[] =>
  [
    ...readFileSync(join(folder, file), "latin1").matchAll(
      new RegExp(`-+BEGIN ${label}-+([^-]+)-+END ${label}-+`, "g"),
    ),
  ].map(([, text]) => Buffer.from(text!, "base64"));

/** Good leaves lived for an hour each. */
function atHalf(leaf: Buffer): number {
  const { validFromDate, validToDate } = new X509Certificate(leaf);
  return (validFromDate.getTime() + validToDate.getTime()) / 2;
}

const APRIL = Date.UTC(2020, 3, 10);
const NOBODY = "an X.509-SVID that nobody would believe: ";
const NO_CHAIN = "an X.509-SVID without chain";
const SVIDS: Readonly<Record<string, string>> = {
  "corrupt-cert.pem": "certificates that cannot be read: expected tag 48, found 67",
  "corrupt-key.pem": NO_CHAIN,
  "good-cert-and-key.pem": `${NOBODY}not_signed_by_trust_domain`,
  "good-key-and-cert.pem": `${NOBODY}not_signed_by_trust_domain`,
  // Everything about it is right but the key, which is not in the file.
  "good-leaf-and-intermediate.pem": "a private key that is not that of its certificate",
  // It stands for its own authority, and is none.
  "good-leaf-only.pem": `${NOBODY}authority_not_one`,
  "key-pkcs8-ecdsa.pem": NO_CHAIN,
  "key-pkcs8-rsa.pem": NO_CHAIN,
  "not-pem": NO_CHAIN,
  "wrong-intermediate-no-ca.pem": `${NOBODY}authority_not_one`,
  "wrong-intermediate-no-key-cert-sign.pem": `${NOBODY}authority_not_one`,
  "wrong-leaf-ca-true.pem": `${NOBODY}leaf_is_authority`,
  "wrong-leaf-cert-sign.pem": `${NOBODY}leaf_usage_wrong`,
  "wrong-leaf-crl-sign.pem": `${NOBODY}leaf_usage_wrong`,
  "wrong-leaf-empty-id.pem": `${NOBODY}leaf_names_wrong`,
  "wrong-leaf-no-digital-signature.pem": `${NOBODY}leaf_usage_wrong`,
};

describe.skipIf(data === undefined)("X.509-SVIDs", () => {
  const path = "svid/x509svid/testdata";

  it("are all in the table", () => expect(filesOf(path)).toEqual(Object.keys(SVIDS)));

  it.each(Object.entries(SVIDS))("of %s are not taken: %s", (file, reason) => {
    const chain = pemOf(join(path, file), "CERTIFICATE");
    const [key] = pemOf(join(path, file), "PRIVATE KEY");
    const svid = { id: "spiffe://example.org/workload-1", chain, key: liveKey() };
    const given = { bundle: chain.at(-1) ?? Buffer.alloc(0), ...(key && { key }) };
    const at = file.startsWith("good-") ? atHalf(chain[0]!) : APRIL;
    expect(() => readX509State(x509Response([svidMessage(svid, [], given)]), at, () => {})).toThrow(
      expect.objectContaining({ code: "response_invalid", message: reason }) as Error,
    );
  });
});

/** Authorities; `undefined` where the bundle is not used at all, as certificates of version 1 make it. */
const X509_BUNDLES: Readonly<Record<string, number | undefined>> = {
  "cert.pem": undefined,
  "certs.pem": undefined,
  "corrupted.pem": undefined,
  "empty.pem": 0,
  "key.pem": 0,
  "not-pem.pem": 0,
};

describe.skipIf(data === undefined)("X.509 bundles", () => {
  const path = "bundle/x509bundle/testdata";

  it("are all in the table", () => expect(filesOf(path)).toEqual(Object.keys(X509_BUNDLES)));

  it.each(Object.entries(X509_BUNDLES))("of %s have so many authorities: %s", (file, count) => {
    const bytes = Buffer.concat(pemOf(join(path, file), "CERTIFICATE"));
    const problems: SpiffeError[] = [];
    const found = readX509Bundles(new Map([["spiffe://example.org", bytes]]), (each) => problems.push(each));
    expect(found.get("example.org")?.x509Authorities.length).toBe(count);
    expect(problems.length).toBe(count === undefined ? 1 : 0);
  });
});

const JWT_BUNDLES: Readonly<Record<string, number | undefined>> = {
  "bundle/jwtbundle/testdata/jwks_missing_kid.json": undefined,
  "bundle/jwtbundle/testdata/jwks_valid_1.json": 1,
  "bundle/jwtbundle/testdata/jwks_valid_2.json": 2,
  "bundle/spiffebundle/testdata/spiffebundle_missing_kid.json": undefined,
  "bundle/spiffebundle/testdata/spiffebundle_multiple_x509.json": 1,
  "bundle/spiffebundle/testdata/spiffebundle_no_keys.json": undefined,
  "bundle/spiffebundle/testdata/spiffebundle_valid_1.json": 1,
  "bundle/spiffebundle/testdata/spiffebundle_valid_2.json": 6,
  "bundle/spiffebundle/testdata/spiffebundle_valid_with_wit.json": 2,
};

describe.skipIf(data === undefined)("JWT bundles", () => {
  it("are all in the table", () => {
    const files = ["bundle/jwtbundle/testdata", "bundle/spiffebundle/testdata"].flatMap((path) =>
      filesOf(path).map((file) => `${path}/${file}`),
    );
    expect(files).toEqual(Object.keys(JWT_BUNDLES));
  });

  it.each(Object.entries(JWT_BUNDLES))("of %s have so many keys: %s", (file, count) => {
    const message = mapField(1, "spiffe://example.org", readFileSync(join(folder, file)));
    const problems: SpiffeError[] = [];
    const found = readJwtState(message, (each) => problems.push(each)).get("example.org");
    expect(found?.jwtAuthorities.length).toBe(count);
    expect(problems.length).toBe(count === undefined ? 1 : 0);
  });
});
