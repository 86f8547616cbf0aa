// SPDX-License-Identifier: Apache-2.0
/**
 * Who signs images? A certificate authority like Fulcio, its certificate log, a transparency log like Rekor, and signers
 * with certificates or keys, all in the real formats: cosign's layers, DSSE envelopes, Sigstore bundles.
 */
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  webcrypto,
} from "node:crypto";
// First: tsyringe, below x509, refuses to load without it.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { createTransparencyLog, keyId, logInstance, type TransparencyLog } from "./transparency-log.ts";

export interface ImageSigner {
  readonly publicKey: string;
  sign(data: Buffer): Buffer;
  /** PEM; absent where a key alone signs. */
  readonly certificate?: string;
  /** Seconds since 1970 at which the log says that it signed. */
  readonly at: number;
}

export interface CertificateWish {
  readonly identity: string;
  readonly issuer: string;
  readonly repositoryId?: string;
  readonly ownerId?: string;
  /** Minutes from now; the certificate is good for ten. */
  readonly from?: number;
  /** Minutes from now at which the log takes the entry. */
  readonly loggedAt?: number;
  readonly logOfCertificates?: "ours" | "none" | "forged";
  readonly purpose?: "code" | "server" | "authority";
}

/** A layer of a manifest of cosign. */
export interface SignedLayer {
  readonly mediaType: string;
  readonly blob: Buffer;
  readonly annotations: Readonly<Record<string, string>>;
  /** What the manifest says, where that is not how long it is. */
  readonly size?: number;
}

export interface Sigstore {
  readonly log: TransparencyLog;
  /** `trusted_root.json`, as text. */
  readonly trustedRoot: string;
  byCertificate(wish: CertificateWish): Promise<ImageSigner>;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const MINUTE = 60_000;
const FULCIO = "1.3.6.1.4.1.57264.1";
const SCT_LIST = "1.3.6.1.4.1.11129.2.4.2";
export const SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1";
export const PROVENANCE = "https://slsa.dev/provenance/v1";

export async function createSigstore(name = "fulcio.example"): Promise<Sigstore> {
  const rootKeys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const root = await x509.X509CertificateGenerator.createSelfSigned(
    {
      ...{ serialNumber: "01", name: `CN=${name}`, keys: rootKeys, signingAlgorithm: ALGORITHM },
      notBefore: new Date("2020-01-01"),
      notAfter: new Date("2040-01-01"),
      extensions: [
        new x509.BasicConstraintsExtension(true, 1, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(rootKeys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  const log = createTransparencyLog(`https://rekor.${name}`);
  const certificateLog = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const trustedRoot = {
    mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    tlogs: [log.instance],
    certificateAuthorities: [
      {
        subject: { organization: name, commonName: name },
        uri: `https://${name}`,
        certChain: { certificates: [{ rawBytes: Buffer.from(root.rawData).toString("base64") }] },
        validFor: { start: "2020-01-01T00:00:00Z" },
      },
    ],
    ctlogs: [logInstance(`https://ctfe.${name}`, certificateLog.publicKey)],
    timestampAuthorities: [],
  };
  return {
    log,
    trustedRoot: JSON.stringify(trustedRoot),
    byCertificate: async (wish) => {
      const { from = -5, loggedAt = 0, logOfCertificates = "ours" } = wish;
      const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
      // Both certificates below are the same to the second.
      const now = Math.floor(Date.now() / 1000) * 1000;
      const serialNumber = `40${randomBytes(15).toString("hex")}`;
      const make = async (...more: x509.Extension[]) =>
        x509.X509CertificateGenerator.create(
          {
            ...{ serialNumber, issuer: root.subject, publicKey: keys.publicKey },
            ...{ signingKey: rootKeys.privateKey, signingAlgorithm: ALGORITHM },
            notBefore: new Date(now + from * MINUTE),
            notAfter: new Date(now + (from + 10) * MINUTE),
            extensions: [...(await extensionsOf(wish, root)), ...more],
          },
          webcrypto,
        );
      const key = logOfCertificates === "forged" ? newKey().privateKey : certificateLog.privateKey;
      // The log signs what the certificate is without the log's own word (RFC 6962 §3.2): that is made first.
      const promise = sctList(await make(), root, key, keyId(certificateLog.publicKey));
      const certificate = logOfCertificates === "none" ? await make() : await make(promise);
      const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
      const privateKey = { key: der, format: "der", type: "pkcs8" } as const;
      return {
        publicKey: certificate.publicKey.toString("pem"),
        certificate: certificate.toString("pem"),
        sign: (data) => sign("sha256", data, privateKey),
        at: now / 1000 + loggedAt * 60,
      };
    },
  };
}

const newKey = () => generateKeyPairSync("ec", { namedCurve: "P-256" });

/** Without a certificate. */
export function signerByKey(privateKey: KeyObject = newKey().privateKey): ImageSigner {
  return {
    publicKey: createPublicKey(privateKey).export({ format: "pem", type: "spki" }),
    sign: (data) => sign(privateKey.asymmetricKeyType === "ed25519" ? null : "sha256", data, privateKey),
    at: Math.floor(Date.now() / 1000),
  };
}

async function extensionsOf(
  { identity, issuer, ownerId, purpose = "code", repositoryId }: CertificateWish,
  root: x509.X509Certificate,
): Promise<x509.Extension[]> {
  const usage = purpose === "server" ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.codeSigning;
  const utf8 = (oid: string, text: string | undefined) =>
    text === undefined
      ? []
      : [
          new x509.Extension(
            `${FULCIO}.${oid}`,
            false,
            Buffer.concat([Buffer.from([0x0c, text.length]), Buffer.from(text)]),
          ),
        ];
  return [
    new x509.BasicConstraintsExtension(purpose === "authority", undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([usage]),
    new x509.SubjectAlternativeNameExtension(
      [{ type: identity.includes("://") ? "url" : "email", value: identity }],
      true,
    ),
    await x509.AuthorityKeyIdentifierExtension.create(root.publicKey, false, webcrypto),
    ...utf8("8", issuer),
    ...utf8("15", repositoryId),
    ...utf8("17", ownerId),
  ];
}

function sctList(
  certificate: x509.X509Certificate,
  root: x509.X509Certificate,
  key: KeyObject,
  log: Buffer,
): x509.Extension {
  const whole = Buffer.from(certificate.rawData);
  const signed = derAt(whole, derAt(whole, 0).content).whole;
  const issuer = createHash("sha256").update(Buffer.from(root.publicKey.rawData)).digest();
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(Date.now()));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(signed.length);
  const head = Buffer.from([0, 0]);
  const over = Buffer.concat([
    head,
    time,
    Buffer.from([0, 1]),
    issuer,
    length.subarray(1),
    signed,
    Buffer.from([0, 0]),
  ]);
  const signature = sign("sha256", over, key);
  const sct = Buffer.concat([
    ...[Buffer.from([0]), log, time, Buffer.from([0, 0, 4, 3]), uint16(signature.length), signature],
  ]);
  const list = Buffer.concat([uint16(sct.length + 2), uint16(sct.length), sct]);
  return new x509.Extension(SCT_LIST, false, Buffer.concat([Buffer.from([0x04, list.length]), list]));
}

function derAt(der: Buffer, at: number): { content: number; whole: Buffer } {
  const first = der[at + 1]!;
  const count = first < 0x80 ? 0 : first & 0x7f;
  const length = count === 0 ? first : der.readUIntBE(at + 2, count);
  const content = at + 2 + count;
  return { content, whole: der.subarray(at, content + length) };
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}
