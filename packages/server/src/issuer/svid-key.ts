// SPDX-License-Identifier: Apache-2.0
/**
 * A new P-256 key pair for one X.509-SVID or WIT-SVID, in the two forms that it is handed out in.
 *
 * Written around fixed prefixes: exporting a key from `node:crypto` takes longer than making it.
 */
import { createECDH } from "node:crypto";
import { Secret } from "../kernel/secret.ts";

const POINT_BYTES = 65;
const SCALAR_BYTES = 32;

/** SubjectPublicKeyInfo up to the point (RFC 5480 §2). */
const SPKI_PREFIX = Buffer.from("3059301306072a8648ce3d020106082a8648ce3d030107034200", "hex");
/** PrivateKeyInfo (RFC 5208 §5) up to the scalar, then from there to the point (RFC 5915 §3). */
const PKCS8_PREFIX = Buffer.from(
  "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420",
  "hex",
);
const PKCS8_MIDDLE = Buffer.from("a144034200", "hex");

export interface SvidKey {
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Buffer;
  /** Not encrypted, as the Workload API hands it out: PKCS #8 in DER, or a JWK. */
  readonly privateKey: Secret;
}

/** One for all: making it takes as long as half a key. It holds the newest key until the next one is made, and no other. */
const ecdh = createECDH("prime256v1");

export function newSvidKey(): SvidKey {
  const point = ecdh.generateKeys();
  const scalar = ecdh.getPrivateKey();
  const privateKey = Buffer.alloc(PKCS8_PREFIX.length + SCALAR_BYTES + PKCS8_MIDDLE.length + POINT_BYTES);
  let at = PKCS8_PREFIX.copy(privateKey);
  // Leading zeros of the scalar are not given.
  scalar.copy(privateKey, at + SCALAR_BYTES - scalar.length);
  at += SCALAR_BYTES;
  at += PKCS8_MIDDLE.copy(privateKey, at);
  point.copy(privateKey, at);
  scalar.fill(0);
  return { publicKey: Buffer.concat([SPKI_PREFIX, point]), privateKey: new Secret(privateKey) };
}

const ALPHABET = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", "ascii");
/** Of 32 bytes in base64url. */
const SCALAR_TEXT = 43;

/** The same with the private key as JWK (RFC 7518 §6.2.2). No text is made of it: a text cannot be wiped. */
export function newJwkSvidKey(): SvidKey {
  const point = ecdh.generateKeys();
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((each) => each.toString("base64url"));
  const before = Buffer.from(`{"kty":"EC","crv":"P-256","alg":"ES256","x":"${x}","y":"${y}","d":"`, "ascii");
  const privateKey = Buffer.alloc(before.length + SCALAR_TEXT + 2);
  before.copy(privateKey);
  const given = ecdh.getPrivateKey();
  const scalar = Buffer.alloc(SCALAR_BYTES + 1);
  given.copy(scalar, SCALAR_BYTES - given.length);
  for (let at = 0; at < SCALAR_TEXT; at++) {
    const bit = at * 6;
    const two = scalar.readUInt16BE(bit >> 3);
    privateKey[before.length + at] = ALPHABET[(two >> (10 - (bit & 7))) & 63]!;
  }
  privateKey.write('"}', before.length + SCALAR_TEXT, "ascii");
  given.fill(0);
  scalar.fill(0);
  return { publicKey: Buffer.concat([SPKI_PREFIX, point]), privateKey: new Secret(privateKey) };
}
