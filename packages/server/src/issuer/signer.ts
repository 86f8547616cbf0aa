// SPDX-License-Identifier: Apache-2.0
/** Signs SVIDs with the active authorities: which ID, for how long, under which name. */
import { createHash, createPublicKey, randomFillSync } from "node:crypto";
import { Fault } from "../kernel/fault.ts";
import type { Secret } from "../kernel/secret.ts";
import { writeJwtSvid } from "@postern/identity/jwt-svid";
import { certificatePem } from "@postern/identity/certificate";
import { readCertificate, splitCertificates } from "@postern/identity/read-certificate";
import { verifyX509Svid } from "@postern/identity/verify-x509-svid";
import { gatewayId, type SpiffeId } from "@postern/identity/spiffe-id";
import {
  type SvidIssuer,
  svidIssuer,
  writeSvidAuthority,
  writeX509Svid,
} from "@postern/identity/svid-certificate";
import { writeWitSvid } from "@postern/identity/wit-svid";
import type { TrustBundle } from "@postern/identity/trust-bundle";
import type { EcdsaSigningKey } from "../keys/signing-keys.ts";
import type { StoredAuthority } from "../store/authority-store.ts";
import { ok, refuse, type Result } from "../kernel/result.ts";
import type { ParentAuthority } from "./parent-authority.ts";
import { authorityName, AUTHORITY_LIFE, isPublished, REFRESH_HINT } from "./authority-life.ts";
import { newJwkSvidKey, newSvidKey } from "./svid-key.ts";

/** Clocks of others may be behind ours. */
const BACKDATED = 10_000;
/** Of a certificate that only shows whether others can be verified. */
const PROBE_LIFE = 60_000;

export interface SvidLives {
  /** Milliseconds. */
  readonly x509: number;
  readonly jwt: number;
}

export interface X509Svid {
  readonly id: SpiffeId;
  readonly certificate: Buffer;
  /** What a verifier needs between it and the trust bundle; DER, one after the other. Empty where a root has signed. */
  readonly chain: Buffer;
  readonly privateKey: Secret;
  readonly serial: string;
  readonly authority: string;
  readonly expiresAt: number;
}

export interface JwtSvid {
  readonly id: SpiffeId;
  readonly token: string;
  readonly authority: string;
  readonly expiresAt: number;
}

/** Bound to a key that only its workload is given. */
export interface WitSvid extends JwtSvid {
  /** JWK (RFC 7517). */
  readonly privateKey: Secret;
}

/** With what all of its documents have in common, computed once. */
export interface ActiveAuthority {
  readonly stored: StoredAuthority;
  readonly key: EcdsaSigningKey;
  readonly issuer: SvidIssuer;
  /** `kid` */
  readonly id: string;
}

export const activeAuthority = (stored: StoredAuthority, key: EcdsaSigningKey): ActiveAuthority => ({
  stored,
  key,
  issuer: svidIssuer(commonNameOf(key.spki), key.spki),
  id: jwtAuthorityId(key.spki),
});

const NO_CHAIN = Buffer.alloc(0);

/** Leaf first, as TLS and Envoy take it. */
export const chainPem = ({ certificate, chain }: Pick<X509Svid, "certificate" | "chain">): string =>
  [certificate, ...splitCertificates(chain)].map(certificatePem).join("");

/** Chance for many serial numbers at a time: asking for it costs more than a number does. */
const chance = Buffer.alloc(16 * 256);
let used = chance.length;

/** A number that nobody can guess and that is not negative (RFC 5280 §4.1.2.2). */
function newSerial(): Buffer {
  if (used === chance.length) {
    randomFillSync(chance);
    used = 0;
  }
  const serial = Buffer.from(chance.subarray(used, (used += 16)));
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  return serial;
}

/** Tells authorities of one trust domain apart: names of certificates are compared, and so are found, by it. */
const commonNameOf = (publicKey: Buffer): string =>
  `Postern SVID authority ${createHash("sha256").update(publicKey).digest("hex").slice(0, 16)}`;

/** A new authority, not yet stored. */
export function writeAuthority(
  spec: { readonly trustDomain: string; readonly kind: StoredAuthority["kind"]; readonly generation: number },
  key: EcdsaSigningKey,
  now: number,
): StoredAuthority {
  const validity = { notBefore: now - BACKDATED, notAfter: now + AUTHORITY_LIFE };
  const { trustDomain, kind } = spec;
  const commonName = commonNameOf(key.spki);
  const published =
    kind === "x509"
      ? writeSvidAuthority(
          { trustDomain, commonName, publicKey: key.spki, serial: newSerial(), ...validity },
          key.sign,
        )
      : key.spki;
  return { ...spec, state: "prepared", published, ...validity, createdAt: now, changedAt: now };
}

/** The same, with a certificate by the parent; refused where nobody could verify what it signs. */
export async function writeAuthorityBelow(
  parent: ParentAuthority,
  { trustDomain, generation }: { readonly trustDomain: string; readonly generation: number },
  key: EcdsaSigningKey,
  now: number,
): Promise<Result<StoredAuthority, string>> {
  const validity = { notBefore: now - BACKDATED, notAfter: now + AUTHORITY_LIFE };
  const spec = { trustDomain, commonName: commonNameOf(key.spki), publicKey: key.spki, serial: newSerial() };
  const signed = await parent({ ...spec, ...validity });
  if (!signed.ok) return signed;
  const { chain, notAfter, root } = signed.value;
  const times = { notBefore: validity.notBefore, notAfter, createdAt: now, changedAt: now };
  const stored: StoredAuthority = {
    ...{ trustDomain, kind: "x509", generation, state: "prepared", published: root },
    ...{ chain: Buffer.concat(chain), ...times },
  };
  const { certificate } = signX509ForKey(
    activeAuthority(stored, key),
    { id: gatewayId(trustDomain), publicKey: key.spki },
    PROBE_LIFE,
    now,
  );
  const bundle = bundleOf(trustDomain, [stored], 0);
  const verified = verifyX509Svid([certificate, ...chain], () => bundle, now);
  return verified.ok ? ok(stored) : refuse(`what it signs could not be verified: ${verified.reason}`);
}

export function signX509Svid(
  authority: ActiveAuthority,
  id: SpiffeId,
  life: number,
  now: number,
  hosts?: readonly (string | Buffer)[],
): X509Svid {
  const { publicKey, privateKey } = newSvidKey();
  return { ...signX509ForKey(authority, { id, publicKey, ...(hosts && { hosts }) }, life, now), privateKey };
}

/** For a key that the workload has made and keeps. `publicKey`: SubjectPublicKeyInfo of a P-256 key, DER. */
export function signX509ForKey(
  { issuer, key, stored }: ActiveAuthority,
  { id, ...subject }: { id: SpiffeId; publicKey: Buffer; hosts?: readonly (string | Buffer)[] },
  life: number,
  now: number,
): Omit<X509Svid, "privateKey"> {
  const expiresAt = endOf(stored, life, now);
  const serial = newSerial();
  const certificate = writeX509Svid(
    { spiffeId: id.uri, ...subject, serial, notBefore: now - BACKDATED, notAfter: expiresAt, issuer },
    key.sign,
  );
  return {
    id,
    certificate,
    chain: stored.chain ?? NO_CHAIN,
    serial: serial.toString("hex"),
    authority: authorityName(stored),
    expiresAt,
  };
}

export function signJwtSvid(
  authority: ActiveAuthority,
  id: SpiffeId,
  audience: readonly string[],
  life: number,
  now: number,
): JwtSvid {
  const { key, stored } = authority;
  const expiresAt = endOf(stored, life, now);
  const token = writeJwtSvid(
    { spiffeId: id.uri, audience, issuedAt: now, expiresAt, authorityId: authority.id },
    key.signJose,
  );
  return { id, token, authority: authorityName(stored), expiresAt };
}

export function signWitSvid(
  { id: authorityId, key, stored }: ActiveAuthority,
  id: SpiffeId,
  life: number,
  now: number,
): WitSvid {
  const expiresAt = endOf(stored, life, now);
  const { publicKey, privateKey } = newJwkSvidKey();
  const spec = { spiffeId: id.uri, publicKey, issuedAt: now, expiresAt, authorityId };
  const token = writeWitSvid(spec, key.signJose);
  return { id, token, privateKey, authority: authorityName(stored), expiresAt };
}

/** A document must not outlive what signed it: nobody could verify it any more. */
function endOf({ notAfter, ...authority }: StoredAuthority, life: number, now: number): number {
  if (now >= notAfter)
    throw new Fault(
      "internal_error",
      `authority ${authorityName(authority)} has ended, and none has followed it`,
    );
  return Math.min(now + life, notAfter);
}

/** `kid`: the key's own thumbprint (RFC 7638), the same for whoever computes it. */
function jwtAuthorityId(spki: Buffer): string {
  const { crv, kty, x, y } = createPublicKey({ key: spki, format: "der", type: "spki" }).export({
    format: "jwk",
  });
  return createHash("sha256").update(JSON.stringify({ crv, kty, x, y })).digest("base64url");
}

/** What validators are told: every authority from its preparation to its revocation. */
export function bundleOf(
  trustDomain: string,
  authorities: readonly StoredAuthority[],
  epoch: number,
): TrustBundle {
  const published = authorities.filter(isPublished);
  const wit = published.filter(({ kind }) => kind === "wit");
  return {
    trustDomain,
    x509Authorities: withoutRepeats(published.filter(({ kind }) => kind === "x509")).map(certificateOf),
    jwtAuthorities: published.filter(({ kind }) => kind === "jwt").map(tokenAuthority),
    ...(wit.length > 0 && { witAuthorities: wit.map(tokenAuthority) }),
    sequence: BigInt(epoch),
    refreshHint: REFRESH_HINT,
  };
}

const tokenAuthority = ({ published: spki }: StoredAuthority) => ({
  id: jwtAuthorityId(spki),
  key: createPublicKey({ key: spki, format: "der", type: "spki" }),
});

/** One root may be the parent of several. */
const withoutRepeats = (authorities: readonly StoredAuthority[]): readonly StoredAuthority[] => [
  ...new Map(authorities.map((each) => [each.published.toString("latin1"), each])).values(),
];

function certificateOf(authority: StoredAuthority) {
  const read = readCertificate(authority.published);
  if (read.ok) return read.value;
  throw new Fault(
    "internal_error",
    `authority ${authorityName(authority)} is stored in an unknown form: ${read.reason}`,
  );
}
