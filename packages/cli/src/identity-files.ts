// SPDX-License-Identifier: Apache-2.0
/** Keeps an identity in files, under the names that SPIFFE tools use; the private key never leaves this machine. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { IssuedIdentity, WantedIdentity } from "@postern/contract";
import { writeCertificateRequest } from "@postern/identity/certificate-request";

export interface AskedIdentity {
  readonly want: WantedIdentity;
  readonly privateKey: KeyObject;
}

/** Asks for a certificate for a key that is made here, and for a token. */
export function askForIdentity(audience: readonly string[]): AskedIdentity {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const request = writeCertificateRequest(publicKey.export({ type: "spki", format: "der" }), (bytes) =>
    sign("sha256", bytes, privateKey),
  );
  return { want: { x509: { request: request.toString("base64") }, jwt: { audience } }, privateKey };
}

/** Gives the names of the files that were written. */
export function writeIdentity(folder: string, identity: IssuedIdentity, privateKey: KeyObject): string[] {
  const key = privateKey.export({ type: "pkcs8", format: "pem" });
  const files: readonly (readonly [name: string, text: string | undefined, mode: number])[] = [
    // The key first: whoever finds the new certificate finds its key.
    ["svid_key.pem", key, 0o600],
    ["svid.pem", identity.x509?.certificate, 0o644],
    ["jwt_svid.token", identity.jwt?.token, 0o600],
    ["bundle.pem", identity.authorities, 0o644],
    ["bundle.json", identity.trustBundle, 0o644],
    ["gateway-ca.pem", identity.authorities + identity.interception, 0o644],
  ];
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return files.flatMap(([name, text, mode]) => {
    if (text === undefined) return [];
    const path = join(folder, name);
    // Readers find the old file or the new one, and nobody reads the key in between.
    const fresh = `${path}.${process.pid}.new`;
    writeFileSync(fresh, text, { mode, flag: "wx" });
    renameSync(fresh, path);
    return [path];
  });
}
