// SPDX-License-Identifier: Apache-2.0
/**
 * Which key signs the identity documents of which region? From the certificates that AWS publishes, and they alone.
 *
 * The keys are pinned, not the certificates: AWS has let one of them expire and signs with its key all the same.
 */
import { type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";

export type DocumentSignature = "rsa2048" | "rsa1024";

/** `# region (Name)` before each PEM block. */
const ENTRY = /^# ([a-z0-9-]+) .*\n(-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----)/gm;

/** Keys of the regions asked for; a region that no certificate is known of has none. `own` come before AWS's. */
export function regionKeys(
  signature: DocumentSignature,
  regions: readonly string[],
  own: Readonly<Record<string, string>>,
): ReadonlyMap<string, KeyObject> {
  const text = readFileSync(new URL(`certificates-${signature}.pem`, import.meta.url), "utf8");
  const published = [...text.matchAll(ENTRY)].map(([, region, pem]) => [region!, pem!] as const);
  return new Map(
    [...published, ...Object.entries(own)]
      .filter(([region]) => regions.includes(region))
      .map(([region, pem]) => [region, new X509Certificate(pem).publicKey] as const)
      .filter(([, key]) => isOfKind(key, signature)),
  );
}

/** A weak key never does for what is taken for strong. */
function isOfKind(
  { asymmetricKeyDetails, asymmetricKeyType }: KeyObject,
  signature: DocumentSignature,
): boolean {
  const { modulusLength = 0 } = asymmetricKeyDetails ?? {};
  return asymmetricKeyType === "rsa" && modulusLength >= (signature === "rsa2048" ? 2048 : 1024);
}
