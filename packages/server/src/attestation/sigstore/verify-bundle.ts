// SPDX-License-Identifier: Apache-2.0
/**
 * Who has signed what a Sigstore bundle holds? Certificate, log and timestamps are checked by `@sigstore/verify`.
 *
 * Only `image-signatures.ts` loads this file, and only where a trust provider has `sigstore`: the library stays out of
 * memory otherwise. What the library leaves open is demanded here: what the certificate is for, and that it has one name.
 */
import { type KeyObject, verify, X509Certificate } from "node:crypto";
import { KEY_USAGE, readCertificate } from "@postern/identity/read-certificate";
import { bundleFromJSON } from "@sigstore/bundle";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import {
  toSignedEntity,
  toTrustMaterial,
  type TrustMaterial,
  VerificationError,
  Verifier,
} from "@sigstore/verify";
import { type Result, ok, refuse } from "../../kernel/result.ts";

type Json = Readonly<Record<string, unknown>>;
type SignatureContent = ReturnType<typeof toSignedEntity>["signature"];

export interface VerifiedBundle {
  /** Who the certificate authority says the signer is; absent where a key signed. */
  readonly certificate?: CertificateIdentity;
  /** What an envelope holds; absent for the signature of a message. */
  readonly envelope?: { readonly type: string; readonly payload: Buffer };
}

export interface CertificateIdentity {
  readonly identity: string;
  readonly issuer: string;
  readonly repositoryId: string | undefined;
  readonly ownerId: string | undefined;
}

/** A key of an operator; `log` says whether the signature must be in a log too. */
export interface PinnedKey {
  readonly publicKey: KeyObject;
  readonly requireLog: boolean;
}

const EMPTY_ROOT = {
  mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
  ...{ tlogs: [], certificateAuthorities: [], ctlogs: [], timestampAuthorities: [] },
};
const CODE_SIGNING = "1.3.6.1.5.5.7.3.3";
/** https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md */
const REPOSITORY_ID = "1.3.6.1.4.1.57264.1.15";
const OWNER_ID = "1.3.6.1.4.1.57264.1.17";

export class BundleVerifier {
  readonly #material: TrustMaterial;

  /** `root` is what `parseTrustedRoot` has taken; without one only pinned keys count. */
  constructor(root: Json | undefined) {
    this.#material = toTrustMaterial(TrustedRoot.fromJSON(root ?? EMPTY_ROOT));
  }

  /** `message` is what a signature without an envelope is over. With `pinned` that key must have signed, else a certificate. */
  verify(bundle: Json, message: Buffer | undefined, pinned?: PinnedKey): Result<VerifiedBundle, string> {
    try {
      return this.#verify(bundle, message, pinned);
    } catch (error) {
      // The library throws whatever the bytes made it stumble over; its words may be a stranger's.
      if (error instanceof VerificationError) return refuse(error.code.toLowerCase());
      return refuse("bundle_malformed");
    }
  }

  #verify(json: Json, message: Buffer | undefined, pinned?: PinnedKey): Result<VerifiedBundle, string> {
    const bundle = bundleFromJSON(json);
    const { content } = bundle.verificationMaterial;
    if ((content.$case === "publicKey") !== (pinned !== undefined))
      return refuse(pinned === undefined ? "no_certificate" : "no_key_signature");
    if ((bundle.content.$case === "messageSignature") !== (message !== undefined))
      return refuse("content_of_another_kind");
    const entity = toSignedEntity(bundle, message);
    const isPure = pinned?.publicKey.asymmetricKeyType === "ed25519" && message !== undefined;
    const signed = isPure ? { ...entity, signature: pureSignature(entity.signature, message) } : entity;
    const found = pinned === undefined ? this.#byCertificate(signed) : ok(this.#byKey(signed, pinned));
    if (!found.ok) return found;
    if (bundle.content.$case === "messageSignature") return found;
    const { payload, payloadType } = bundle.content.dsseEnvelope;
    return ok({ ...found.value, envelope: { type: payloadType, payload: Buffer.from(payload) } });
  }

  #byCertificate(signed: ReturnType<typeof toSignedEntity>): Result<VerifiedBundle, string> {
    const { identity } = new Verifier(this.#material).verify(signed);
    if (signed.key.$case !== "certificate") return refuse("no_certificate");
    const der = signed.key.certificate.root.toDER();
    const name = identity?.subjectAlternativeName ?? "";
    const issuer = identity?.extensions?.issuer ?? "";
    if (!isForSigning(der)) return refuse("certificate_for_something_else");
    // One name in one reading: Node's text has every name, and quotes what could be misread.
    const isOnly = [`URI:${name}`, `email:${name}`].includes(new X509Certificate(der).subjectAltName ?? "");
    if (!isOnly || !isPlain(name) || !isPlain(issuer)) return refuse("certificate_identity_unclear");
    const extension = (oid: string): string | undefined => {
      const found = identity?.oids?.filter(({ oid: each }) => each?.id.join(".") === oid) ?? [];
      return found.length === 1 ? utf8StringOf(Buffer.from(found[0]!.value)) : undefined;
    };
    const ids = { repositoryId: extension(REPOSITORY_ID), ownerId: extension(OWNER_ID) };
    return ok({ certificate: { identity: name, issuer, ...ids } });
  }

  #byKey(signed: ReturnType<typeof toSignedEntity>, { publicKey, requireLog }: PinnedKey): VerifiedBundle {
    const material = { ...this.#material, publicKey: () => ({ publicKey, validFor: () => true }) };
    const thresholds = { ctlogThreshold: 0, timestampThreshold: 0, tlogThreshold: requireLog ? 1 : 0 };
    // A log that nobody demands is not asked what it thinks: its key need not be in the root.
    const entity = requireLog ? signed : { ...signed, tlogEntries: [], timestamps: [] };
    new Verifier(material, thresholds).verify(entity);
    return {};
  }
}

/** RFC 8032 §5.1: Ed25519 signs the message as it is; the library hashes every message first. */
function pureSignature(content: SignatureContent, message: Buffer): SignatureContent {
  return Object.assign(Object.create(content) as SignatureContent, {
    verifySignature: (key: KeyObject) => verify(null, message, key, content.signature),
  });
}

/** What the library does not ask: a certificate that signs code, and is no authority (RFC 5280 §4.2.1.3, §4.2.1.12). */
function isForSigning(der: Buffer): boolean {
  const read = readCertificate(der);
  if (!read.ok) return false;
  const { extendedKeyUsage, isAuthority, keyUsage, unknownCritical } = read.value;
  return (
    !isAuthority &&
    keyUsage?.bits.has(KEY_USAGE.digitalSignature) === true &&
    extendedKeyUsage?.includes(CODE_SIGNING) === true &&
    unknownCritical.length === 0
  );
}

const isPlain = (text: string): boolean => /^[\x21-\x7e]{1,1000}$/.test(text);

/** DER of a short UTF8String. */
function utf8StringOf(der: Buffer): string | undefined {
  const isWhole = der[0] === 0x0c && (der[1] ?? 0x80) < 0x80 && der.length === 2 + der[1]!;
  return isWhole ? der.subarray(2).toString("utf8") : undefined;
}
