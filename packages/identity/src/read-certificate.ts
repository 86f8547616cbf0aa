// SPDX-License-Identifier: Apache-2.0
/**
 * What does a certificate say, to the last byte? (RFC 5280 §4)
 *
 * Node's own reader does not show key usage, which extensions are critical, or which forms a name has; a verifier
 * of SVIDs has to know all three.
 */
import { ok, refuse, type Result } from "./result.ts";
import {
  DerError,
  DerReader,
  type Element,
  readBitBytes,
  readBoolean,
  readNamedBits,
  readObjectIdentifier,
  readUnsigned,
} from "./der-reader.ts";

/** §4.2.1.3 */
export const KEY_USAGE = { digitalSignature: 0, keyCertSign: 5, cRLSign: 6 } as const;

export interface CertificateFacts {
  readonly der: Buffer;
  /** What the signature is over. */
  readonly signed: Buffer;
  /** Object identifier; the same inside and outside of what is signed. */
  readonly signatureAlgorithm: string;
  readonly signature: Buffer;
  readonly serial: Buffer;
  /** Names as DER: they are compared byte by byte. */
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly isSubjectEmpty: boolean;
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly publicKey: Buffer;
  readonly isAuthority: boolean;
  readonly pathLength: number | undefined;
  /** Undefined where the extension is absent. */
  readonly keyUsage: { readonly isCritical: boolean; readonly bits: ReadonlySet<number> } | undefined;
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly subjectKeyId: Buffer | undefined;
  readonly alternativeNames: { readonly isCritical: boolean; readonly uris: readonly string[] } | undefined;
  /** Critical extensions that this reader knows nothing of. */
  readonly unknownCritical: readonly string[];
}

const MOST_BYTES = 65_536;
const MOST_EXTENSIONS = 64;

const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  version: 0xa0,
  extensions: 0xa3,
  uri: 0x86,
} as const;

const EXTENSION = {
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  alternativeNames: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyIdentifier: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
} as const;
const KNOWN: ReadonlySet<string> = new Set(Object.values(EXTENSION));

/** Reads and checks nothing but the form: whom to believe is asked by `verifyX509Svid`. */
export function readCertificate(der: Buffer): Result<CertificateFacts, string> {
  if (der.length > MOST_BYTES) return refuse("the certificate is too large");
  try {
    return ok(certificateOf(der));
  } catch (error) {
    if (error instanceof DerError) return refuse(`the certificate is malformed: ${error.message}`);
    throw error;
  }
}

function certificateOf(der: Buffer): CertificateFacts {
  const outermost = new DerReader(der);
  const outer = outermost.into(TAG.sequence);
  outermost.end();
  const toBeSigned = outer.next(TAG.sequence);
  const algorithm = outer.next(TAG.sequence);
  const signature = readBitBytes(outer.next(TAG.bitString));
  outer.end();

  const inner = new DerReader(toBeSigned.content);
  const version = inner.into(TAG.version);
  if (!readUnsigned(version.next(TAG.integer)).equals(Buffer.from([2])))
    throw new DerError("only version 3 is taken");
  version.end();
  const serial = readUnsigned(inner.next(TAG.integer));
  // §4.1.1.2: both must be the same, or the signature would be over something that nobody reads.
  if (!inner.next(TAG.sequence).whole.equals(algorithm.whole))
    throw new DerError("the signature algorithm differs inside and outside");
  const issuer = inner.next(TAG.sequence).whole;
  const validity = inner.into(TAG.sequence);
  const [notBefore, notAfter] = [readTime(validity), readTime(validity)];
  validity.end();
  const subject = inner.next(TAG.sequence);
  const publicKey = inner.next(TAG.sequence).whole;
  const extensions = readExtensions(inner);
  inner.end();
  return {
    der,
    signed: toBeSigned.whole,
    signatureAlgorithm: readObjectIdentifier(new DerReader(algorithm.content).next(TAG.objectIdentifier)),
    signature,
    serial,
    issuer,
    subject: subject.whole,
    isSubjectEmpty: subject.content.length === 0,
    notBefore,
    notAfter,
    publicKey,
    ...factsOf(extensions),
  };
}

/** Certificates one after the other, as the Workload API hands them out. */
export function splitCertificates(bytes: Buffer): Buffer[] {
  const reader = new DerReader(bytes);
  const certificates: Buffer[] = [];
  while (!reader.isAtEnd) certificates.push(reader.next(TAG.sequence).whole);
  return certificates;
}

interface Extension {
  readonly isCritical: boolean;
  readonly value: Buffer;
}

function readExtensions(inner: DerReader): ReadonlyMap<string, Extension> {
  const found = new Map<string, Extension>();
  if (inner.isAtEnd) return found;
  const wrapper = inner.into(TAG.extensions);
  const list = wrapper.into(TAG.sequence);
  wrapper.end();
  while (!list.isAtEnd) {
    const each = list.into(TAG.sequence);
    const id = readObjectIdentifier(each.next(TAG.objectIdentifier));
    const critical = each.optional(TAG.boolean);
    // A default value is not written, X.690 §11.5.
    if (critical !== undefined && !readBoolean(critical))
      throw new DerError("a default value is written out");
    const { content } = each.next(TAG.octetString);
    each.end();
    if (found.has(id)) throw new DerError(`extension ${id} stands twice`);
    if (found.size >= MOST_EXTENSIONS) throw new DerError("too many extensions");
    found.set(id, { isCritical: critical !== undefined, value: content });
  }
  return found;
}

function factsOf(extensions: ReadonlyMap<string, Extension>) {
  const constraints = extensions.get(EXTENSION.basicConstraints);
  const usage = extensions.get(EXTENSION.keyUsage);
  const names = extensions.get(EXTENSION.alternativeNames);
  const purposes = extensions.get(EXTENSION.extendedKeyUsage);
  const keyId = extensions.get(EXTENSION.subjectKeyIdentifier);
  return {
    ...readBasicConstraints(constraints?.value),
    keyUsage:
      usage === undefined
        ? undefined
        : { isCritical: usage.isCritical, bits: readNamedBits(only(usage.value, TAG.bitString)) },
    alternativeNames:
      names === undefined ? undefined : { isCritical: names.isCritical, uris: readUris(names.value) },
    extendedKeyUsage: purposes === undefined ? undefined : readPurposes(purposes.value),
    subjectKeyId: keyId === undefined ? undefined : only(keyId.value, TAG.octetString).content,
    unknownCritical: [...extensions]
      .filter(([id, { isCritical }]) => isCritical && !KNOWN.has(id))
      .map(([id]) => id),
  };
}

/** The one element that these bytes are. */
function only(bytes: Buffer, tag: number): Element {
  const reader = new DerReader(bytes);
  const element = reader.next(tag);
  reader.end();
  return element;
}

function readBasicConstraints(value: Buffer | undefined): {
  isAuthority: boolean;
  pathLength: number | undefined;
} {
  if (value === undefined) return { isAuthority: false, pathLength: undefined };
  const fields = new DerReader(only(value, TAG.sequence).content);
  const authority = fields.optional(TAG.boolean);
  if (authority !== undefined && !readBoolean(authority))
    throw new DerError("a default value is written out");
  const length = fields.optional(TAG.integer);
  fields.end();
  if (length === undefined) return { isAuthority: authority !== undefined, pathLength: undefined };
  const bytes = readUnsigned(length);
  if (bytes.length > 2) throw new DerError("a path length too large");
  return { isAuthority: authority !== undefined, pathLength: bytes.readUIntBE(0, bytes.length) };
}

/** §4.2.1.6: other name, mail, DNS, X.400, directory, EDI, URI, address, registered identifier. */
const NAME_FORMS: ReadonlySet<number> = new Set([0xa0, 0x81, 0x82, 0xa3, 0xa4, 0xa5, 0x86, 0x87, 0x88]);

/** Names of other forms may stand beside the URIs (X509-SVID §2); they identify nobody here. */
function readUris(value: Buffer): string[] {
  const names = new DerReader(only(value, TAG.sequence).content);
  const uris: string[] = [];
  while (!names.isAtEnd) {
    const name = names.next(names.tag!);
    if (!NAME_FORMS.has(name.tag)) throw new DerError("a name of no form that there is");
    if (name.tag !== TAG.uri) continue;
    // IA5String: a byte above 127 is no character of it.
    if (name.content.some((byte) => byte > 0x7f)) throw new DerError("a URI that is not ASCII");
    uris.push(name.content.toString("latin1"));
  }
  return uris;
}

function readPurposes(value: Buffer): string[] {
  const purposes = new DerReader(only(value, TAG.sequence).content);
  const ids: string[] = [];
  while (!purposes.isAtEnd) ids.push(readObjectIdentifier(purposes.next(TAG.objectIdentifier)));
  return ids;
}

/** §4.1.2.5: in UTC, to the second. */
function readTime(reader: DerReader): number {
  const element = reader.next(reader.tag === TAG.utcTime ? TAG.utcTime : TAG.generalizedTime);
  const text = element.content.toString("latin1");
  const digits = element.tag === TAG.utcTime ? 2 : 4;
  const match = new RegExp(`^(\\d{${digits}})(\\d\\d)(\\d\\d)(\\d\\d)(\\d\\d)(\\d\\d)Z$`).exec(text);
  if (match === null) throw new DerError("a time of a wrong form");
  const [year = 0, month = 0, ...rest] = match.slice(1).map(Number);
  const century = digits === 4 ? 0 : year < 50 ? 2000 : 1900;
  const [day = 0, hour = 0, minute = 0, second = 0] = rest;
  const instant = Date.UTC(century + year, month - 1, day, hour, minute, second);
  const [date, time] = new Date(instant).toISOString().split(/[T.]/);
  const pad = (value: number, size = 2) => String(value).padStart(size, "0");
  // The calendar rolls over what does not exist, such as the 31st of February.
  if (
    date !== `${pad(century + year, 4)}-${pad(month)}-${pad(day)}` ||
    time !== `${pad(hour)}:${pad(minute)}:${pad(second)}`
  )
    throw new DerError("a time that does not exist");
  return instant;
}
