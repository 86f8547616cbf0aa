// SPDX-License-Identifier: Apache-2.0
/**
 * Who vouches for the stand-ins' names? A certificate authority that lives as long as the test.
 *
 * Its key never leaves memory and its certificate is trusted by nobody but the test that made it.
 */
import { randomBytes, webcrypto } from "node:crypto";
import { isIP } from "node:net";
// First: tsyringe, below x509, refuses to load without it.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY = 24 * 60 * 60 * 1000;

/** A server certificate with its private key, both PEM. */
export interface IssuedCertificate {
  readonly certificate: string;
  readonly privateKey: string;
}

export interface TestAuthority {
  /** PEM of the root, for `NODE_EXTRA_CA_CERTS`, `caCertificates` and the like. */
  readonly certificate: string;
  /** Issues for the names given: host names and IP addresses mixed. */
  issue(names: readonly string[], validity?: { notBefore: Date; notAfter: Date }): Promise<IssuedCertificate>;
}

export async function createTestAuthority(commonName = "Postern test authority"): Promise<TestAuthority> {
  const keys = await newKeyPair();
  const root = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: newSerial(),
      name: `CN=${commonName}`,
      ...validFor(7),
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return {
    certificate: pem("CERTIFICATE", root.rawData),
    issue: (names, validity = validFor(2)) => issueServerCertificate(root, keys, names, validity),
  };
}

async function issueServerCertificate(
  root: x509.X509Certificate,
  rootKeys: webcrypto.CryptoKeyPair,
  names: readonly string[],
  validity: { notBefore: Date; notAfter: Date },
): Promise<IssuedCertificate> {
  const keys = await newKeyPair();
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: newSerial(),
      subject: "CN=Postern test server",
      issuer: root.subject,
      ...validity,
      publicKey: keys.publicKey,
      signingKey: rootKeys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension(
          names.map((name) => ({ type: isIP(name) === 0 ? "dns" : "ip", value: name })),
        ),
        await x509.AuthorityKeyIdentifierExtension.create(root.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  const privateKey = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
  return { certificate: pem("CERTIFICATE", certificate.rawData), privateKey: pem("PRIVATE KEY", privateKey) };
}

const newKeyPair = () => webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);

/** 16 random octets, positive and without a leading zero (RFC 5280 §4.1.2.2). */
function newSerial(): string {
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  return serial.toString("hex");
}

/** From an hour ago, so that a clock that is a little behind does not refuse it. */
const validFor = (days: number) => ({
  notBefore: new Date(Date.now() - DAY / 24),
  notAfter: new Date(Date.now() + days * DAY),
});

function pem(label: string, der: ArrayBuffer): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
