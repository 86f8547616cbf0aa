// SPDX-License-Identifier: Apache-2.0
/** Writes the certificates of a SPIFFE trust domain: its authorities and X.509-SVIDs. Pure: time, serial and signing are passed in. */
import * as certificate from "./certificate.ts";
import * as der from "./der.ts";
import type { CertificateFacts } from "./read-certificate.ts";
import { trustDomainUri } from "./spiffe-id.ts";

export interface SvidAuthoritySpec extends certificate.AuthoritySpec {
  readonly trustDomain: string;
}

export interface X509SvidSpec extends certificate.Validity {
  readonly spiffeId: string;
  /** SubjectPublicKeyInfo of a P-256 key, DER. */
  readonly publicKey: Buffer;
  readonly serial: Buffer;
  readonly issuer: SvidIssuer;
  /** Besides the SPIFFE ID, for clients that know none: host names, and addresses as bytes (RFC 5280 §4.2.1.6). */
  readonly hosts?: readonly (string | Buffer)[];
}

/** What every SVID of one authority says of it, DER. */
export interface SvidIssuer {
  readonly name: Buffer;
  readonly authorityKey: Buffer;
}

export const svidIssuer = (commonName: string, publicKey: Buffer): SvidIssuer => ({
  name: certificate.name(commonName),
  authorityKey: certificate.authorityKey(publicKey),
});

const uriName = (uri: string, isCritical: boolean, hosts: readonly (string | Buffer)[] = []): Buffer =>
  certificate.extension(
    "2.5.29.17",
    isCritical,
    der.sequence(
      der.implicit(6, Buffer.from(uri, "ascii")),
      ...hosts.map((host) =>
        typeof host === "string" ? der.implicit(2, Buffer.from(host, "ascii")) : der.implicit(7, host),
      ),
    ),
  );

/** It signs leaves and nothing below: the path length is 0. */
const constraints = certificate.extension(
  "2.5.29.19",
  true,
  der.sequence(der.boolean(true), der.integer(Buffer.from([0]))),
);

const EMPTY = der.sequence();
const leafConstraints = certificate.basicConstraints(false);

/** X509-SVID §4.3: where purposes stand, both must. */
const purposes = certificate.extension(
  "2.5.29.37",
  false,
  der.sequence(der.objectIdentifier("1.3.6.1.5.5.7.3.1"), der.objectIdentifier("1.3.6.1.5.5.7.3.2")),
);

/** A self-signed signing certificate with the ID of the trust domain, DER (X509-SVID §3.2, §4.1). */
export function writeSvidAuthority(spec: SvidAuthoritySpec, sign: certificate.SignDer): Buffer {
  const name = certificate.name(spec.commonName);
  const extensions = [
    constraints,
    certificate.authorityUsage,
    uriName(trustDomainUri(spec.trustDomain), false),
    certificate.subjectKey(spec.publicKey),
    certificate.authorityKey(spec.publicKey),
  ];
  return certificate.writeCertificate(spec, name, name, extensions, sign);
}

/** The same, to be signed by a parent: a certificate of somebody else, who may have kept its key elsewhere. */
export function authorityToSign(
  spec: SvidAuthoritySpec,
  parent: Pick<CertificateFacts, "subject" | "subjectKeyId">,
  algorithm: certificate.SignatureName,
): Buffer {
  const { subject, subjectKeyId } = parent;
  const extensions = [
    constraints,
    certificate.authorityUsage,
    uriName(trustDomainUri(spec.trustDomain), false),
    certificate.subjectKey(spec.publicKey),
    // RFC 5280 §4.2.1.1: what the parent calls its key; nothing where it says nothing.
    ...(subjectKeyId === undefined ? [] : [certificate.authorityKeyId(subjectKeyId)]),
  ];
  return certificate.toSign(spec, subject, certificate.name(spec.commonName), extensions, algorithm);
}

/** An X.509-SVID, DER. Its subject is empty, so the SPIFFE ID is critical (RFC 5280 §4.1.2.6). */
export function writeX509Svid(spec: X509SvidSpec, sign: certificate.SignDer): Buffer {
  const extensions = [
    leafConstraints,
    certificate.leafUsage,
    purposes,
    uriName(spec.spiffeId, true, spec.hosts),
    certificate.subjectKey(spec.publicKey),
    spec.issuer.authorityKey,
  ];
  return certificate.writeCertificate(spec, spec.issuer.name, EMPTY, extensions, sign);
}
