// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
// First: tsyringe, below x509, refuses to load without it.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { describe, expect, it } from "vitest";
import { certificatePem } from "./certificate.ts";
import { NOW, testSvid, testTrustDomain } from "./svid.fixture.ts";

const id = "spiffe://example.org/agents/one";

describe("the certificates of a trust domain", () => {
  const domain = testTrustDomain();
  const svid = testSvid(domain, id);

  it("X1, X3: the leaf has one URI, critical because there is no subject, as another parser reads it", () => {
    const read = new x509.X509Certificate(svid);
    expect(read.subject).toBe("");
    const found = read.getExtension(x509.SubjectAlternativeNameExtension);
    expect(found?.critical).toBe(true);
    expect(found?.names.toJSON()).toEqual([{ type: "url", value: id }]);
    expect(new X509Certificate(svid).subjectAltName).toBe(`URI:${id}`);
  });

  it("X5, X6, X7: the leaf signs and nothing else, for servers and for clients", () => {
    const read = new x509.X509Certificate(svid);
    expect(read.getExtension(x509.KeyUsagesExtension)).toMatchObject({
      critical: true,
      usages: x509.KeyUsageFlags.digitalSignature,
    });
    expect(read.getExtension(x509.BasicConstraintsExtension)).toMatchObject({ ca: false, critical: true });
    expect(read.getExtension(x509.ExtendedKeyUsageExtension)?.usages).toEqual([
      x509.ExtendedKeyUsage.serverAuth,
      x509.ExtendedKeyUsage.clientAuth,
    ]);
  });

  it("X4, X6: the authority signs certificates, and its ID has no path", () => {
    const read = new x509.X509Certificate(domain.authority);
    expect(read.getExtension(x509.BasicConstraintsExtension)).toMatchObject({ ca: true, critical: true });
    expect(read.getExtension(x509.KeyUsagesExtension)).toMatchObject({
      critical: true,
      usages: x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
    });
    expect(read.getExtension(x509.SubjectAlternativeNameExtension)?.names.toJSON()).toEqual([
      { type: "url", value: "spiffe://example.org" },
    ]);
  });

  it("pass openssl's strict verification, for servers and for clients, and fail it with another authority", () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-svid-"));
    try {
      writeFileSync(join(folder, "ca.pem"), certificatePem(domain.authority));
      writeFileSync(join(folder, "other.pem"), certificatePem(testTrustDomain().authority));
      writeFileSync(join(folder, "leaf.pem"), certificatePem(svid));
      const verify = (authority: string, purpose: string) =>
        execFileSync(
          "openssl",
          [
            ...["verify", "-x509_strict", "-purpose", purpose, "-attime", String(NOW / 1000)],
            ...["-CAfile", join(folder, authority), join(folder, "leaf.pem")],
          ],
          { stdio: ["ignore", "pipe", "ignore"] },
        ).toString();
      expect(verify("ca.pem", "sslserver")).toContain("OK");
      expect(verify("ca.pem", "sslclient")).toContain("OK");
      expect(() => verify("other.pem", "sslclient")).toThrow();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
