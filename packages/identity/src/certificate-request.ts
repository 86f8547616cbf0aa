// SPDX-License-Identifier: Apache-2.0
/**
 * For which key does a workload ask for a certificate, and does it hold that key? (PKCS #10, RFC 2986 §4)
 *
 * Names and extensions that it asks for are not looked at: who it is was attested, not asked.
 */
import { ok, refuse, type Result } from "./result.ts";
import * as der from "./der.ts";
import { DerError, DerReader, readBitBytes, readObjectIdentifier, readUnsigned } from "./der-reader.ts";
import { isSignedBy, readPublicKey } from "./verify-signature.ts";

const MOST_BYTES = 16_384;
const SPKI_BYTES = 91;
const SEQUENCE = 0x30;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OBJECT_IDENTIFIER = 0x06;
const ATTRIBUTES = 0xa0;

/** The SubjectPublicKeyInfo, DER, of a P-256 key whose holder has signed the request. */
export function readCertificateRequest(request: Buffer): Result<Buffer, string> {
  if (request.length > MOST_BYTES) return refuse("the certificate request is too large");
  try {
    return requestedKey(request);
  } catch (error) {
    if (error instanceof DerError) return refuse(`the certificate request is malformed: ${error.message}`);
    throw error;
  }
}

function requestedKey(request: Buffer): Result<Buffer, string> {
  const outermost = new DerReader(request);
  const outer = outermost.into(SEQUENCE);
  outermost.end();
  const signed = outer.next(SEQUENCE);
  const algorithm = new DerReader(outer.next(SEQUENCE).content).next(OBJECT_IDENTIFIER);
  const signature = readBitBytes(outer.next(BIT_STRING));
  outer.end();
  const info = new DerReader(signed.content);
  if (!readUnsigned(info.next(INTEGER)).equals(Buffer.from([0])))
    throw new DerError("only version 1 is taken");
  info.next(SEQUENCE);
  const publicKey = info.next(SEQUENCE).whole;
  info.optional(ATTRIBUTES);
  info.end();
  const key = readPublicKey(publicKey);
  if (key?.asymmetricKeyDetails?.namedCurve !== "prime256v1")
    return refuse("the certificate request is for a key of another kind than P-256");
  // Named curve and whole point (RFC 5480 §2): a compressed one is the same key in a form that not everybody reads.
  if (publicKey.length !== SPKI_BYTES)
    return refuse("the certificate request writes its key in an unusual form");
  const facts = { signed: signed.whole, signatureAlgorithm: readObjectIdentifier(algorithm), signature };
  return isSignedBy(facts, key)
    ? ok(publicKey)
    : refuse("the certificate request is not signed by its own key");
}

/** A request without names, DER. `sign` is ECDSA with SHA-256, DER. */
export function writeCertificateRequest(publicKey: Buffer, sign: (bytes: Buffer) => Buffer): Buffer {
  const info = der.sequence(
    der.integer(Buffer.from([0])),
    der.sequence(),
    publicKey,
    // No attributes, but the member is not optional.
    Buffer.from([ATTRIBUTES, 0]),
  );
  const algorithm = der.sequence(der.objectIdentifier("1.2.840.10045.4.3.2"));
  return der.sequence(info, algorithm, der.bitString(sign(info)));
}
