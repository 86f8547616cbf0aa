// SPDX-License-Identifier: Apache-2.0
/**
 * Who signs the authorities of this trust domain, where they do not sign themselves? The certificates of a parent in a file, and
 * its key behind a port: in a file too, or wherever somebody else keeps it.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign, X509Certificate } from "node:crypto";
import { open } from "node:fs/promises";
import { type SignatureName, signed } from "@postern/identity/certificate";
import { type CertificateFacts, readCertificate } from "@postern/identity/read-certificate";
import { authorityToSign, type SvidAuthoritySpec } from "@postern/identity/svid-certificate";
import { isSignedBy, readPublicKey } from "@postern/identity/verify-signature";
import { ok, refuse, type Result } from "../kernel/result.ts";

export interface SignedAuthority {
  /** DER: the new certificate first, each signed by the next, the last one by the root. */
  readonly chain: readonly Buffer[];
  /** DER: what others have to believe. */
  readonly root: Buffer;
  /** Earliest end of all of these. */
  readonly notAfter: number;
}

/** Asked for each new authority; everything is read anew, so that a parent can be replaced in place. */
export type ParentAuthority = (spec: SvidAuthoritySpec) => Promise<Result<SignedAuthority, string>>;

/**
 * The parent's private key, wherever it is kept: a file, a KMS, a security module.
 *
 * Contract: `publicKey` is asked before every signature and must be the key of the parent's certificate. `sign` is given the whole
 * `TBSCertificate`, at most a few kilobytes, and answers with what goes into the certificate: an ECDSA-Sig-Value in DER for
 * `ecdsa-*`, the plain signature of PKCS #1 v1.5 for `rsa-*`. It may fail; then there is no new authority, the present one goes on, and
 * it is tried again. A wrong answer is noticed: the certificate is verified before anybody gets it. It is called about twice a week.
 */
export interface ParentKey {
  publicKey(): Promise<KeyObject>;
  sign(toBeSigned: Buffer, algorithm: SignatureName): Promise<Buffer>;
}

const MOST_BYTES = 65_536;
const MOST_CERTIFICATES = 6;
/** A parent that ends sooner is of no use: SVIDs would be renewed all the time. */
const LEAST_LEFT = 3_600_000;
const PEM = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]{1,30000}?-----END CERTIFICATE-----/g;

/** `certificates`: PEM file, the one that signs first, the root last. */
export const parentAuthority =
  (certificates: string, key: ParentKey): ParentAuthority =>
  async (spec) => {
    try {
      return await askParent(certificates, key, spec);
    } catch (error) {
      // A text that somebody else has written may hold anything.
      return refuse(
        error instanceof ParentKeyError ? error.message : `its certificates or its key: ${codeOf(error)}`,
      );
    }
  };

/** The message is for operators, and holds nothing of the key. */
export class ParentKeyError extends Error {}

const codeOf = (error: unknown): string => {
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === "string" ? code : "failed";
};

async function askParent(
  certificates: string,
  key: ParentKey,
  spec: SvidAuthoritySpec,
): Promise<Result<SignedAuthority, string>> {
  const read = await readChain(certificates);
  if (!read.ok) return read;
  const [parent] = read.value as [CertificateFacts];
  const root = read.value.at(-1)!;
  const notAfter = Math.min(spec.notAfter, ...read.value.map((each) => each.notAfter));
  if (notAfter - spec.notBefore < LEAST_LEFT) return refuse("a certificate of it ends within an hour");
  const publicKey = await key.publicKey();
  const algorithm = algorithmOf(publicKey);
  if (algorithm === undefined)
    return refuse("its key must be RSA of 2048 bits or more, or on P-256 or P-384");
  if (!spkiOf(publicKey).equals(parent.publicKey))
    return refuse("its key is not that of its first certificate");
  const toBeSigned = authorityToSign({ ...spec, notAfter }, parent, algorithm);
  const certificate = signed(toBeSigned, algorithm, await key.sign(toBeSigned, algorithm));
  const between = read.value.slice(0, -1).map(({ der }) => der);
  return ok({ chain: [certificate, ...between], root: root.der, notAfter });
}

const spkiOf = (key: KeyObject): Buffer => key.export({ type: "spki", format: "der" });

function algorithmOf(key: KeyObject): SignatureName | undefined {
  if (readPublicKey(spkiOf(key)) === undefined) return undefined;
  if (key.asymmetricKeyType === "rsa") return "rsa-sha256";
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (curve === "prime256v1") return "ecdsa-sha256";
  return curve === "secp384r1" ? "ecdsa-sha384" : undefined;
}

/** From the one that signs to a root that has signed itself. What they may sign is seen by verifying what comes of it. */
async function readChain(path: string): Promise<Result<readonly CertificateFacts[], string>> {
  const text = (await readBounded(path)).toString("latin1");
  const blocks = text.match(PEM) ?? [];
  if (blocks.length === 0) return refuse("there is no certificate in its file");
  if (blocks.length > MOST_CERTIFICATES) return refuse("there are too many certificates in its file");
  const chain: CertificateFacts[] = [];
  for (const block of blocks) {
    const facts = readCertificate(derOf(block));
    if (!facts.ok) return facts;
    chain.push(facts.value);
  }
  for (const [index, each] of chain.entries()) {
    const issuer = chain[index + 1] ?? each;
    const key = readPublicKey(issuer.publicKey);
    if (key === undefined || !issuer.subject.equals(each.issuer) || !isSignedBy(each, key))
      return refuse("its certificates are no chain: each signed by the next, and the last by itself");
  }
  return ok(chain);
}

function derOf(block: string): Buffer {
  try {
    return new X509Certificate(block).raw;
  } catch {
    return Buffer.alloc(0);
  }
}

async function readBounded(path: string): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    const bytes = Buffer.alloc(MOST_BYTES);
    const { bytesRead } = await file.read(bytes, 0, MOST_BYTES, 0);
    return bytes.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** PEM file, PKCS #8 or what OpenSSL writes, not encrypted. In memory only while it signs. */
export const parentKeyFile = (path: string): ParentKey => {
  const privateKey = async (): Promise<KeyObject> => {
    const pem = await readBounded(path);
    try {
      return createPrivateKey(pem);
    } catch {
      // What OpenSSL says of it may hold a part of it.
      throw new ParentKeyError("its key file holds no private key in PEM without a passphrase");
    } finally {
      pem.fill(0);
    }
  };
  return {
    publicKey: async () => createPublicKey(await privateKey()),
    sign: async (toBeSigned, algorithm) =>
      sign(algorithm.endsWith("384") ? "sha384" : "sha256", toBeSigned, await privateKey()),
  };
};
