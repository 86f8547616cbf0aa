// SPDX-License-Identifier: Apache-2.0
/** Did this key sign this certificate, by an algorithm that still means something? (RFC 5280 §4.1.1.2) */
import { constants, createPublicKey, type KeyObject, verify } from "node:crypto";
import type { CertificateFacts } from "./read-certificate.ts";

/** ECDSA (RFC 5758 §3.2) and RSA PKCS #1 v1.5 (RFC 4055 §5) with SHA-2; nothing with SHA-1 or MD5. */
const ALGORITHMS: ReadonlyMap<string, { readonly digest: string; readonly type: "ec" | "rsa" }> = new Map([
  ["1.2.840.10045.4.3.2", { digest: "sha256", type: "ec" }],
  ["1.2.840.10045.4.3.3", { digest: "sha384", type: "ec" }],
  ["1.2.840.10045.4.3.4", { digest: "sha512", type: "ec" }],
  ["1.2.840.113549.1.1.11", { digest: "sha256", type: "rsa" }],
  ["1.2.840.113549.1.1.12", { digest: "sha384", type: "rsa" }],
  ["1.2.840.113549.1.1.13", { digest: "sha512", type: "rsa" }],
]);

const CURVES: ReadonlySet<string | undefined> = new Set(["prime256v1", "secp384r1", "secp521r1"]);
/** Smaller ones are weak; larger ones cost time that a stranger could ask for. */
const RSA_BITS = { least: 2048, most: 8192 };

/** The key of a certificate, where it is of a kind that is taken. Asked before anything is computed with it. */
export function readPublicKey(spki: Buffer): KeyObject | undefined {
  try {
    const key = createPublicKey({ key: spki, format: "der", type: "spki" });
    return isStrong(key) ? key : undefined;
  } catch {
    return undefined;
  }
}

function isStrong({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  const { modulusLength = 0, publicExponent = 0n, namedCurve } = asymmetricKeyDetails ?? {};
  if (asymmetricKeyType === "ec") return CURVES.has(namedCurve);
  if (asymmetricKeyType !== "rsa") return false;
  return (
    modulusLength >= RSA_BITS.least &&
    modulusLength <= RSA_BITS.most &&
    publicExponent >= 3n &&
    publicExponent < 2n ** 33n
  );
}

/** What is signed, how and with what; certificates and requests for them have it alike. */
type Signed = Pick<CertificateFacts, "signed" | "signature" | "signatureAlgorithm">;

export function isSignedBy(certificate: Signed, key: KeyObject): boolean {
  const algorithm = ALGORITHMS.get(certificate.signatureAlgorithm);
  if (algorithm === undefined || algorithm.type !== key.asymmetricKeyType) return false;
  try {
    return algorithm.type === "rsa"
      ? verify(
          algorithm.digest,
          certificate.signed,
          { key, padding: constants.RSA_PKCS1_PADDING },
          certificate.signature,
        )
      : verify(algorithm.digest, certificate.signed, key, certificate.signature);
  } catch {
    return false;
  }
}
