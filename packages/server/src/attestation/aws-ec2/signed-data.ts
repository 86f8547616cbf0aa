// SPDX-License-Identifier: Apache-2.0
/**
 * What does a PKCS #7 message (CMS SignedData, RFC 5652) say, if one of our keys signed it?
 *
 * Keys are ours alone: certificates in the message are not looked at, and neither is who it says has signed. What is given
 * back is the very content that was verified. RSA with SHA-256 only; one signer; no second content beside it.
 */
import { createHash, type KeyObject, verify } from "node:crypto";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { BerError, type BerValue, octetsOf, readBer } from "./ber.ts";

export interface SignedContent<Key extends KeyObject = KeyObject> {
  readonly content: Buffer;
  /** The one of the keys that signed. */
  readonly key: Key;
}

export type SignedDataRefusal = "message_malformed" | "message_algorithm_refused" | "message_signature_wrong";

/** Contents of object identifiers, in hex. */
const OID = {
  signedData: "2a864886f70d010702",
  data: "2a864886f70d010701",
  sha256: "608648016503040201",
  rsa: "2a864886f70d010101",
  sha256WithRsa: "2a864886f70d01010b",
  contentType: "2a864886f70d010903",
  messageDigest: "2a864886f70d010904",
} as const;

const [INTEGER, OCTETS, OBJECT, SEQUENCE, SET] = [0x02, 0x04, 0x06, 0x30, 0x31] as const;
const [CONTEXT_0, CONTEXT_1] = [0xa0, 0xa1] as const;

export function verifySignedData(
  message: Buffer,
  keys: readonly KeyObject[],
): Result<SignedContent, SignedDataRefusal> {
  try {
    const { content, signer } = parseMessage(message);
    const [digest, signing] = [signer.digestAlgorithm, signer.signatureAlgorithm];
    if (digest !== OID.sha256 || (signing !== OID.rsa && signing !== OID.sha256WithRsa))
      return refuse("message_algorithm_refused");
    const signed = signer.attributes === undefined ? content : signedAttributes(signer.attributes, content);
    if (signed === undefined) return refuse("message_signature_wrong");
    const key = keys.find((candidate) => verify("sha256", signed, candidate, signer.signature));
    return key === undefined ? refuse("message_signature_wrong") : ok({ content, key });
  } catch (error) {
    if (error instanceof BerError) return refuse("message_malformed");
    throw error;
  }
}

interface Signer {
  readonly digestAlgorithm: string;
  readonly attributes: BerValue | undefined;
  readonly signatureAlgorithm: string;
  readonly signature: Buffer;
}

function parseMessage(message: Buffer): { content: Buffer; signer: Signer } {
  const [type, wrapped] = only(expect(readBer(message), SEQUENCE), 2);
  if (objectOf(type) !== OID.signedData) throw new BerError("no SignedData");
  const data = expect(only(expect(wrapped, CONTEXT_0), 1)[0], SEQUENCE).children;
  const [version, digests, encapsulated, ...more] = data;
  expect(version, INTEGER);
  expect(digests, SET);
  // §5.1: certificates, revocations, signers; the first two may be absent.
  const rest = more.filter(({ tag }) => tag !== CONTEXT_0 && tag !== CONTEXT_1);
  const [signers] = rest;
  if (rest.length !== 1 || more.length > 3) throw new BerError("not what SignedData holds");
  const [contentType, content] = only(expect(encapsulated, SEQUENCE), 2);
  if (objectOf(contentType) !== OID.data) throw new BerError("content of another type");
  const octets = octetsOf(only(expect(content, CONTEXT_0), 1)[0]!);
  const [signer] = only(expect(signers, SET), 1);
  return { content: octets, signer: parseSigner(expect(signer, SEQUENCE)) };
}

/** §5.3 */
function parseSigner({ children }: BerValue): Signer {
  const [version, who, digest, ...more] = children;
  expect(version, INTEGER);
  expect(who, SEQUENCE);
  const attributes = more[0]?.tag === CONTEXT_0 ? more.shift() : undefined;
  const [algorithm, signature, unsigned, ...excess] = more;
  if (excess.length > 0 || (unsigned !== undefined && unsigned.tag !== CONTEXT_1))
    throw new BerError("not what a signer holds");
  return {
    digestAlgorithm: algorithmOf(digest),
    attributes,
    signatureAlgorithm: algorithmOf(algorithm),
    signature: expect(signature, OCTETS).content,
  };
}

/**
 * §5.4: what is signed in the place of the content, written as a SET. They must name the content by its digest, each
 * attribute once. Undefined where that is another content.
 */
function signedAttributes(attributes: BerValue, content: Buffer): Buffer | undefined {
  if (attributes.isIndefinite) throw new BerError("attributes that are not DER");
  const values = new Map<string, BerValue>();
  for (const attribute of attributes.children) {
    const [type, set] = only(expect(attribute, SEQUENCE), 2);
    const name = objectOf(type);
    if (values.has(name)) throw new BerError("an attribute twice");
    values.set(name, expect(set, SET));
  }
  const value = (name: string): BerValue => only(expect(values.get(name), SET), 1)[0]!;
  const digest = createHash("sha256").update(content).digest();
  if (objectOf(value(OID.contentType)) !== OID.data)
    throw new BerError("attributes of another type of content");
  if (!expect(value(OID.messageDigest), OCTETS).content.equals(digest)) return undefined;
  return Buffer.concat([Buffer.from([SET]), attributes.whole.subarray(1)]);
}

function expect(value: BerValue | undefined, tag: number): BerValue {
  if (value?.tag !== tag) throw new BerError(`expected tag ${tag}`);
  return value;
}

function only({ children }: BerValue, count: number): readonly BerValue[] {
  if (children.length !== count) throw new BerError(`expected ${count} values`);
  return children;
}

const objectOf = (value: BerValue | undefined): string => expect(value, OBJECT).content.toString("hex");
const algorithmOf = (value: BerValue | undefined): string => objectOf(expect(value, SEQUENCE).children[0]);
