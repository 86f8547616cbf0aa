// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { generateKeyPairSync, randomBytes, sign, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { certificatePem, writeAuthorityCertificate, writeServerCertificate } from "./certificate.ts";

const day = 86_400_000;
const now = Date.now();

function authority(notAfter = now + 3650 * day) {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ type: "spki", format: "der" });
  const signDer = (bytes: Buffer) => sign("sha256", bytes, privateKey);
  const spec = {
    commonName: "Test CA",
    publicKey: spki,
    serial: randomBytes(16),
    notBefore: now - day,
    notAfter,
  };
  return { spki, signDer, der: writeAuthorityCertificate(spec, signDer) };
}

function leaf(ca: ReturnType<typeof authority>, host: string) {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return writeServerCertificate(
    {
      host,
      publicKey: publicKey.export({ type: "spki", format: "der" }),
      serial: Buffer.concat([Buffer.from([0xff]), randomBytes(15)]),
      notBefore: now - day,
      notAfter: now + day,
      issuer: { commonName: "Test CA", publicKey: ca.spki },
    },
    ca.signDer,
  );
}

describe("certificates, RFC 5280", () => {
  it("are read by Node as what was written, and name one host only", () => {
    const ca = authority();
    const certificate = new X509Certificate(leaf(ca, "api.openai.com"));
    expect(certificate.subjectAltName).toBe("DNS:api.openai.com");
    expect(certificate.checkHost("api.openai.com")).toBe("api.openai.com");
    expect(certificate.checkHost("evil.example")).toBeUndefined();
    expect(certificate.ca).toBe(false);
    expect(new X509Certificate(ca.der).ca).toBe(true);
    expect(certificate.verify(new X509Certificate(ca.der).publicKey)).toBe(true);
    expect(certificate.verify(new X509Certificate(authority().der).publicKey)).toBe(false);
  });

  it("write dates after 2049 as GeneralizedTime, §4.1.2.5", () => {
    const notAfter = Date.UTC(2060, 0, 2, 3, 4, 5);
    expect(new X509Certificate(authority(notAfter).der).validToDate.getTime()).toBe(notAfter);
  });

  it.skipIf(!hasOpenssl())("pass openssl's strict verification", () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-cert-"));
    try {
      const ca = authority();
      writeFileSync(join(folder, "ca.pem"), certificatePem(ca.der));
      writeFileSync(join(folder, "leaf.pem"), certificatePem(leaf(ca, `${"a".repeat(60)}.example.com`)));
      const verify = (host: string) =>
        execFileSync("openssl", [
          ...["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", host],
          ...["-CAfile", join(folder, "ca.pem"), join(folder, "leaf.pem")],
        ]).toString();
      expect(verify(`${"a".repeat(60)}.example.com`)).toContain("OK");
      expect(() => verify("other.example.com")).toThrow();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

function hasOpenssl(): boolean {
  try {
    execFileSync("openssl", ["version"]);
    return true;
  } catch {
    return false;
  }
}
