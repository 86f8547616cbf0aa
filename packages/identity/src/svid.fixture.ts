// SPDX-License-Identifier: Apache-2.0
/** A trust domain for tests, whose certificates can be made wrong in one point at a time. */
import { generateKeyPairSync, randomBytes, sign as signBytes } from "node:crypto";
import * as certificate from "./certificate.ts";
import * as der from "./der.ts";
import { readCertificate } from "./read-certificate.ts";
import { svidIssuer, writeSvidAuthority, writeX509Svid } from "./svid-certificate.ts";
import type { TrustBundle } from "./trust-bundle.ts";

export const NOW = Date.UTC(2026, 5, 1);
const HOUR = 3_600_000;

export interface TestKey {
  readonly spki: Buffer;
  sign(bytes: Buffer): Buffer;
}

export function testKey(namedCurve = "P-256"): TestKey {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve });
  return {
    spki: publicKey.export({ type: "spki", format: "der" }),
    sign: (bytes) => signBytes("sha256", bytes, privateKey),
  };
}

export interface TestTrustDomain {
  readonly key: TestKey;
  readonly commonName: string;
  readonly authority: Buffer;
  readonly bundle: TrustBundle;
}

export function testTrustDomain(trustDomain = "example.org", commonName = "test CA"): TestTrustDomain {
  const key = testKey();
  const spec = { commonName, trustDomain, publicKey: key.spki, ...validity(24 * HOUR), serial: serial() };
  const authority = writeSvidAuthority(spec, key.sign);
  return { key, commonName, authority, bundle: bundleOf(trustDomain, authority) };
}

export function bundleOf(trustDomain: string, ...authorities: readonly Buffer[]): TrustBundle {
  const x509Authorities = authorities.map((bytes) => {
    const read = readCertificate(bytes);
    if (!read.ok) throw new Error(read.reason);
    return read.value;
  });
  return { trustDomain, x509Authorities, jwtAuthorities: [] };
}

export function testSvid(domain: TestTrustDomain, spiffeId = "spiffe://example.org/a"): Buffer {
  const issuer = svidIssuer(domain.commonName, domain.key.spki);
  const spec = { spiffeId, publicKey: testKey().spki, serial: serial(), ...validity(HOUR), issuer };
  return writeX509Svid(spec, domain.key.sign);
}

export const validity = (length: number) => ({ notBefore: NOW - length, notAfter: NOW + length });
export const serial = (): Buffer => Buffer.concat([Buffer.from([0x40]), randomBytes(15)]);

/** Extensions by hand: `undefined` leaves one out. */
export interface Extensions {
  readonly constraints?: Buffer | undefined;
  readonly usage?: Buffer | undefined;
  readonly names?: Buffer | undefined;
  readonly more?: readonly Buffer[];
}

export const names = (uris: readonly string[], isCritical = true): Buffer =>
  certificate.extension(
    "2.5.29.17",
    isCritical,
    der.sequence(...uris.map((uri) => der.implicit(6, Buffer.from(uri, "latin1")))),
  );

/** `bits`: first byte of the bit list; `unused`: bits at its end that are not part of it. */
export const usage = (bits: number, unused: number, isCritical = true): Buffer =>
  certificate.extension("2.5.29.15", isCritical, der.bitString(Buffer.from([bits]), unused));

export const constraints = (isAuthority: boolean, pathLength?: number): Buffer =>
  certificate.extension(
    "2.5.29.19",
    true,
    der.sequence(
      ...(isAuthority ? [der.boolean(true)] : []),
      ...(pathLength === undefined ? [] : [der.integer(Buffer.from([pathLength]))]),
    ),
  );

export interface HandMade extends Extensions {
  /** Absent: a new one. */
  readonly key?: TestKey;
  readonly subject?: Buffer;
  readonly notBefore?: number;
  readonly notAfter?: number;
}

const GOOD_LEAF: Extensions = {
  constraints: constraints(false),
  usage: usage(0x80, 7),
  names: names(["spiffe://example.org/a"]),
};

/** A leaf signed by the domain's authority, right in every point that is not given. */
export function handMade(
  issuer: { readonly key: TestKey; readonly commonName: string },
  given: HandMade,
): Buffer {
  const { key = testKey(), subject = der.sequence(), more = [], ...rest } = given;
  const parts: HandMade = { ...GOOD_LEAF, ...rest };
  const extensions = [parts.constraints, parts.usage, parts.names, ...more].filter(
    (each) => each !== undefined,
  );
  const { notBefore = NOW - HOUR, notAfter = NOW + HOUR } = parts;
  const spec = { publicKey: key.spki, serial: serial(), notBefore, notAfter };
  return certificate.writeCertificate(
    spec,
    certificate.name(issuer.commonName),
    subject,
    extensions,
    issuer.key.sign,
  );
}
