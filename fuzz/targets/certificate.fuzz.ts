// SPDX-License-Identifier: Apache-2.0
/** Does a certificate say to our reader what it says to OpenSSL's? */
import { X509Certificate } from "node:crypto";
import { readCertificate } from "../../packages/identity/src/read-certificate.ts";
import { verifyX509Svid } from "../../packages/identity/src/verify-x509-svid.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

/** Text that Node prints without quotes: names in quotes hold characters that could pass for a separator. */
const PLAIN = /^[A-Za-z0-9:/._-]+$/;

function check(input: Buffer): void {
  const read = readCertificate(input);
  // Nobody has signed it, so it must never be believed, whatever it says.
  const empty = { trustDomain: "", x509Authorities: [], jwtAuthorities: [] };
  const verified = verifyX509Svid([input], (trustDomain) => ({ ...empty, trustDomain }), 1_780_000_000_000);
  demand(!verified.ok, "a certificate is believed that nobody has signed");
  if (!read.ok) return;
  const { serial, notBefore, notAfter, alternativeNames } = read.value;
  let node: X509Certificate;
  try {
    node = new X509Certificate(input);
  } catch {
    return;
  }
  demandEqual(
    serial.toString("hex").replace(/^0+/, ""),
    node.serialNumber.toLowerCase().replace(/^0+/, ""),
    "serial",
  );
  // OpenSSL reads fractions and zones that the profile forbids; what we read has neither.
  demandEqual([notBefore, notAfter], [node.validFromDate.getTime(), node.validToDate.getTime()], "validity");
  const uris = alternativeNames?.uris ?? [];
  // OpenSSL looks into names of other forms, and reads none where one of them is broken.
  const printed = node.subjectAltName;
  if (printed === undefined || printed.includes('"') || !uris.every((uri) => PLAIN.test(uri))) return;
  const theirs = printed.split(", ").flatMap((name) => (name.startsWith("URI:") ? [name.slice(4)] : []));
  demandEqual(uris, theirs, "URIs");
}

const target: FuzzTarget = {
  parsers: [
    "packages/identity/src/read-certificate.ts",
    "packages/identity/src/der-reader.ts",
    "packages/identity/src/verify-x509-svid.ts",
  ],
  property:
    "What is read has the serial number, times and URIs that OpenSSL reads; without an authority that signed it, nothing is believed.",
  words: [
    "spiffe://",
    "example.org",
    "\u0086",
    "\u0006\u0003\u0055\u001d\u0011",
    "\u0030\u0080",
    "\u0001\u0001\u00ff",
    "Z",
  ],
  check,
};
export default target;
