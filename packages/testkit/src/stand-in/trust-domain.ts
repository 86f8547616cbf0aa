// SPDX-License-Identifier: Apache-2.0
/**
 * A SPIFFE trust domain of somebody else, such as SPIRE runs it: authority, bundle, SVIDs of both kinds, and each of them
 * wrong in one point where a test asks for that. Certificates are written by a library that is not ours.
 */
import { createPrivateKey, type KeyObject, randomBytes, randomUUID, sign, webcrypto } from "node:crypto";
// First: tsyringe, below x509, refuses to load without it.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const HOUR = 3_600_000;
const { KeyUsageFlags: Usage, ExtendedKeyUsage: Purpose } = x509;

export interface StandInX509Svid {
  /** DER, the leaf first. */
  readonly chain: readonly Buffer[];
  readonly key: KeyObject;
}

export interface X509SvidChange {
  readonly uris?: readonly string[];
  readonly isAuthority?: boolean;
  readonly usages?: x509.KeyUsageFlags;
  /** Object identifiers; undefined for those that a workload has. */
  readonly purposes?: readonly string[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

export interface StandInTrustDomain {
  readonly name: string;
  /** As its operator publishes it, in the SPIFFE format. */
  readonly bundle: string;
  /** The authority itself, as if it were an SVID. */
  readonly authority: StandInX509Svid;
  jwtSvid(claims: Readonly<Record<string, unknown>>, header?: Readonly<Record<string, unknown>>): string;
  x509Svid(path: string, change?: X509SvidChange): Promise<StandInX509Svid>;
}

export async function createTrustDomain(name: string): Promise<StandInTrustDomain> {
  const [keys, jwtKeys] = [await newKeyPair(), await newKeyPair()];
  const usages = Usage.keyCertSign | Usage.cRLSign;
  const root = await x509.X509CertificateGenerator.createSelfSigned(
    {
      ...{ serialNumber: newSerial(), name: `O=SPIRE,CN=${name}`, keys, signingAlgorithm: ALGORITHM },
      ...{ notBefore: hours(-1), notAfter: hours(24) },
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(usages, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        new x509.SubjectAlternativeNameExtension([{ type: "url", value: `spiffe://${name}` }]),
      ],
    },
    webcrypto,
  );
  const kid = randomUUID();
  const jwtKey = await keyObject(jwtKeys);
  const own = Buffer.from(root.rawData);
  const certificateJwk = await webcrypto.subtle.exportKey("jwk", keys.publicKey);
  const tokenJwk = await webcrypto.subtle.exportKey("jwk", jwtKeys.publicKey);
  const jwk = ({ crv, kty, x, y }: webcrypto.JsonWebKey) => ({ kty, crv, x, y });
  return {
    name,
    bundle: JSON.stringify({
      keys: [
        { use: "x509-svid", ...jwk(certificateJwk), x5c: [own.toString("base64")] },
        { use: "jwt-svid", ...jwk(tokenJwk), kid },
      ],
      spiffe_sequence: 1,
      spiffe_refresh_hint: 300,
    }),
    authority: { chain: [own], key: await keyObject(keys) },
    jwtSvid: (claims, header = {}) => {
      const now = Math.floor(Date.now() / 1000);
      return compact(
        { alg: "ES256", kid, typ: "JWT", ...header },
        { iat: now, exp: now + 300, ...claims },
        jwtKey,
      );
    },
    x509Svid: (path, change = {}) => issue(root, keys, `spiffe://${name}${path}`, change),
  };
}

/** What comes with an X.509-SVID as evidence: who presents it holds its key, for this audience, now. */
export function proofOfKey(
  { chain, key }: StandInX509Svid,
  claims: Readonly<Record<string, unknown>>,
  header: Readonly<Record<string, unknown>> = {},
): string {
  const now = Math.floor(Date.now() / 1000);
  const head = { alg: "ES256", typ: "x509-svid-proof+jwt", x5c: chain.map((der) => der.toString("base64")) };
  return compact({ ...head, ...header }, { iat: now, exp: now + 60, jti: randomUUID(), ...claims }, key);
}

async function issue(
  root: x509.X509Certificate,
  rootKeys: webcrypto.CryptoKeyPair,
  id: string,
  change: X509SvidChange,
): Promise<StandInX509Svid> {
  const keys = await newKeyPair();
  const { isAuthority = false, purposes = [Purpose.serverAuth, Purpose.clientAuth], uris = [id] } = change;
  const { notBefore = hours(-1), notAfter = hours(1), usages = Usage.digitalSignature } = change;
  const certificate = await x509.X509CertificateGenerator.create(
    {
      ...{ serialNumber: newSerial(), subject: "O=SPIRE", issuer: root.subject, notBefore, notAfter },
      ...{ publicKey: keys.publicKey, signingKey: rootKeys.privateKey, signingAlgorithm: ALGORITHM },
      extensions: [
        new x509.BasicConstraintsExtension(isAuthority, undefined, true),
        new x509.KeyUsagesExtension(usages, true),
        new x509.ExtendedKeyUsageExtension([...purposes]),
        new x509.SubjectAlternativeNameExtension(uris.map((value) => ({ type: "url", value }))),
        await x509.AuthorityKeyIdentifierExtension.create(root.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return { chain: [Buffer.from(certificate.rawData)], key: await keyObject(keys) };
}

function compact(header: object, claims: object, key: KeyObject): string {
  const signed = [header, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  const signature = sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

const newKeyPair = () => webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
const hours = (count: number): Date => new Date(Date.now() + count * HOUR);

async function keyObject({ privateKey }: webcrypto.CryptoKeyPair): Promise<KeyObject> {
  const bytes = await webcrypto.subtle.exportKey("pkcs8", privateKey);
  return createPrivateKey({ key: Buffer.from(bytes), format: "der", type: "pkcs8" });
}

/** 16 random octets, positive and without a leading zero (RFC 5280 §4.1.2.2). */
function newSerial(): string {
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  return serial.toString("hex");
}
