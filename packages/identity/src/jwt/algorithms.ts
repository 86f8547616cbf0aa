// SPDX-License-Identifier: Apache-2.0
/**
 * Which signatures of RFC 7518 §3 are taken, and which key fits which?
 *
 * The asymmetric ones that SPIFFE and OpenID providers use. No `none`, no MAC: a public key must never do as a secret.
 */
import { constants, type KeyObject, verify } from "node:crypto";

export const JWT_ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "ES256",
  "ES384",
  "ES512",
  "PS256",
  "PS384",
  "PS512",
] as const;
export type JwtAlgorithm = (typeof JWT_ALGORITHMS)[number];

export const isJwtAlgorithm = (value: unknown): value is JwtAlgorithm =>
  JWT_ALGORITHMS.some((known) => known === value);

/** RFC 7518 §3.4: each algorithm has one curve and one length of signature. */
const CURVES: Readonly<Record<string, { readonly curve: string; readonly signatureBytes: number }>> = {
  ES256: { curve: "prime256v1", signatureBytes: 64 },
  ES384: { curve: "secp384r1", signatureBytes: 96 },
  ES512: { curve: "secp521r1", signatureBytes: 132 },
};

/** RSA keys below are too weak (RFC 7518 §3.3), those above cost time that strangers could ask for. */
const RSA_BITS = { least: 2048, most: 8192 };

export function isUsableKey(key: KeyObject): boolean {
  const { modulusLength = 0, namedCurve, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === "ec") return Object.values(CURVES).some(({ curve }) => curve === namedCurve);
  // An exponent of one makes every message its own signature; a long one makes each check slow.
  return (
    key.asymmetricKeyType === "rsa" &&
    modulusLength >= RSA_BITS.least &&
    modulusLength <= RSA_BITS.most &&
    publicExponent >= 3n &&
    publicExponent < 2n ** 33n
  );
}

export function keyFits(key: KeyObject, algorithm: JwtAlgorithm): boolean {
  const curve = CURVES[algorithm];
  return curve === undefined
    ? key.asymmetricKeyType === "rsa"
    : key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === curve.curve;
}

/** Whether `signature` is the key's over `signed`. A key of another kind verifies nothing. */
export function verifyBytes(
  algorithm: JwtAlgorithm,
  key: KeyObject,
  signed: Buffer,
  signature: Buffer,
): boolean {
  if (!keyFits(key, algorithm)) return false;
  const digest = `sha${algorithm.slice(2)}`;
  const curve = CURVES[algorithm];
  if (curve !== undefined)
    return (
      signature.length === curve.signatureBytes &&
      verify(digest, signed, { key, dsaEncoding: "ieee-p1363" }, signature)
    );
  if (algorithm.startsWith("RS"))
    return verify(digest, signed, { key, padding: constants.RSA_PKCS1_PADDING }, signature);
  // RFC 7518 §3.5: the salt is as long as the digest.
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  return verify(digest, signed, { key, padding, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }, signature);
}
