// SPDX-License-Identifier: Apache-2.0
/**
 * Writes X.509 certificates (RFC 5280) for ECDSA P-256 keys. Pure: time, serial and signing are passed in.
 *
 * Both kinds carry what strict verifiers (`openssl verify -x509_strict`, Python 3.13) demand: key usage,
 * basic constraints, subject and authority key identifiers.
 */
import { createHash } from "node:crypto";
import * as der from "./der.ts";

/** Signs the bytes with ECDSA P-256 and SHA-256; the signature is DER encoded. Others sign with what is said of them. */
export type SignDer = (bytes: Buffer) => Buffer;

export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface AuthoritySpec extends Validity {
  readonly commonName: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Buffer;
  readonly serial: Buffer;
}

export interface ServerSpec extends Validity {
  /** DNS name for the subject alternative name. */
  readonly host: string;
  readonly publicKey: Buffer;
  readonly serial: Buffer;
  readonly issuer: { readonly commonName: string; readonly publicKey: Buffer };
}

const VERSION_3 = der.explicit(0, der.integer(Buffer.from([2])));
/** AlgorithmIdentifier, DER (RFC 5758 §3.2, RFC 4055 §5). */
export const SIGNATURES = {
  "ecdsa-sha256": der.sequence(der.objectIdentifier("1.2.840.10045.4.3.2")),
  "ecdsa-sha384": der.sequence(der.objectIdentifier("1.2.840.10045.4.3.3")),
  "rsa-sha256": der.sequence(der.objectIdentifier("1.2.840.113549.1.1.11"), Buffer.from([0x05, 0x00])),
} as const;
export type SignatureName = keyof typeof SIGNATURES;

export const name = (commonName: string): Buffer =>
  der.sequence(der.set(der.sequence(der.objectIdentifier("2.5.4.3"), der.utf8String(commonName))));

export const extension = (oid: string, critical: boolean, value: Buffer): Buffer =>
  der.sequence(der.objectIdentifier(oid), ...(critical ? [der.boolean(true)] : []), der.octetString(value));

/** Key identifier: SHA-1 of the public key bits (RFC 5280 §4.2.1.2 method 1); a name, not a guard. */
function keyIdentifier(publicKey: Buffer): Buffer {
  // The bit string is the tail of a P-256 SubjectPublicKeyInfo: 65 bytes, uncompressed point.
  return createHash("sha1").update(publicKey.subarray(-65)).digest();
}

export const basicConstraints = (isAuthority: boolean): Buffer =>
  extension("2.5.29.19", true, isAuthority ? der.sequence(der.boolean(true)) : der.sequence());
export const authorityUsage = extension("2.5.29.15", true, der.bitString(Buffer.from([0x06]), 1)); // keyCertSign, cRLSign
export const leafUsage = extension("2.5.29.15", true, der.bitString(Buffer.from([0x80]), 7)); // digitalSignature
const serverAuth = extension("2.5.29.37", false, der.sequence(der.objectIdentifier("1.3.6.1.5.5.7.3.1")));
export const subjectKey = (publicKey: Buffer): Buffer =>
  extension("2.5.29.14", false, der.octetString(keyIdentifier(publicKey)));
export const authorityKey = (publicKey: Buffer): Buffer => authorityKeyId(keyIdentifier(publicKey));
export const authorityKeyId = (identifier: Buffer): Buffer =>
  extension("2.5.29.35", false, der.sequence(der.implicit(0, identifier)));
const dnsName = (host: string): Buffer =>
  extension("2.5.29.17", false, der.sequence(der.implicit(2, Buffer.from(host, "ascii"))));

/** A self-signed CA certificate, DER. */
export function writeAuthorityCertificate(spec: AuthoritySpec, sign: SignDer): Buffer {
  const extensions = [
    basicConstraints(true),
    authorityUsage,
    subjectKey(spec.publicKey),
    authorityKey(spec.publicKey),
  ];
  return writeCertificate(spec, name(spec.commonName), name(spec.commonName), extensions, sign);
}

/** A TLS server certificate for one DNS name, DER. The subject is the host, cut to the 64 that CN allows. */
export function writeServerCertificate(spec: ServerSpec, sign: SignDer): Buffer {
  const extensions = [
    basicConstraints(false),
    leafUsage,
    serverAuth,
    dnsName(spec.host),
    subjectKey(spec.publicKey),
    authorityKey(spec.issuer.publicKey),
  ];
  return writeCertificate(spec, name(spec.issuer.commonName), name(spec.host.slice(0, 64)), extensions, sign);
}

export function writeCertificate(
  spec: Validity & { readonly publicKey: Buffer; readonly serial: Buffer },
  issuer: Buffer,
  subject: Buffer,
  extensions: readonly Buffer[],
  sign: SignDer,
): Buffer {
  const toBeSigned = toSign(spec, issuer, subject, extensions, "ecdsa-sha256");
  return signed(toBeSigned, "ecdsa-sha256", sign(toBeSigned));
}

/** `TBSCertificate`, for a key that is asked elsewhere. */
export const toSign = (
  spec: Validity & { readonly publicKey: Buffer; readonly serial: Buffer },
  issuer: Buffer,
  subject: Buffer,
  extensions: readonly Buffer[],
  algorithm: SignatureName,
): Buffer =>
  der.sequence(
    VERSION_3,
    der.integer(spec.serial),
    SIGNATURES[algorithm],
    issuer,
    der.sequence(der.time(spec.notBefore), der.time(spec.notAfter)),
    subject,
    spec.publicKey,
    der.explicit(3, der.sequence(...extensions)),
  );

export const signed = (toBeSigned: Buffer, algorithm: SignatureName, signature: Buffer): Buffer =>
  der.sequence(toBeSigned, SIGNATURES[algorithm], der.bitString(signature));

/** DER to PEM (RFC 7468). */
export function certificatePem(certificateDer: Buffer): string {
  const lines = certificateDer.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
