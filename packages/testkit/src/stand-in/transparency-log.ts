// SPDX-License-Identifier: Apache-2.0
/**
 * A transparency log as Rekor keeps it: an entry with its signed promise, an inclusion proof and a signed checkpoint.
 *
 * RFC 6962 §2.1 for the tree, C2SP tlog-checkpoint for the note.
 */
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";

export interface LogEntry {
  /** As in a Sigstore bundle. */
  readonly entry: Record<string, unknown>;
  /** As cosign keeps it in an annotation. */
  readonly annotation: string;
}

export interface TransparencyLog {
  /** As in a trusted root. */
  readonly instance: Record<string, unknown>;
  /** Seconds since 1970. */
  append(body: { kind: string; apiVersion: string; spec: unknown }, at: number): LogEntry;
}

const sha256 = (...parts: readonly Buffer[]): Buffer => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

export function createTransparencyLog(baseUrl: string): TransparencyLog {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const id = keyId(publicKey);
  const leaves: Buffer[] = [leafHash(Buffer.from("the first entry"))];
  const name = new URL(baseUrl).host;

  return {
    instance: logInstance(baseUrl, publicKey),
    append: (content, at) => {
      const body = Buffer.from(JSON.stringify(content));
      const index = leaves.push(leafHash(body)) - 1;
      // Somebody else comes after, so that the proof has two kinds of steps.
      leaves.push(leafHash(Buffer.from(`entry after ${index}`)));
      const promised = {
        body: body.toString("base64"),
        integratedTime: at,
        logID: id.toString("hex"),
        logIndex: index,
      };
      const promise = sign("sha256", Buffer.from(JSON.stringify(promised)), privateKey).toString("base64");
      const root = rootOf(leaves);
      const note = `${name}\n${leaves.length}\n${root.toString("base64")}\n`;
      const signature = Buffer.concat([id.subarray(0, 4), sign("sha256", Buffer.from(note), privateKey)]);
      return {
        annotation: JSON.stringify({ SignedEntryTimestamp: promise, Payload: promised }),
        entry: {
          logIndex: String(index),
          logId: { keyId: id.toString("base64") },
          kindVersion: { kind: content.kind, version: content.apiVersion },
          integratedTime: String(at),
          inclusionPromise: { signedEntryTimestamp: promise },
          inclusionProof: {
            logIndex: String(index),
            rootHash: root.toString("base64"),
            treeSize: String(leaves.length),
            hashes: proofOf(index, leaves).map((hash) => hash.toString("base64")),
            checkpoint: { envelope: `${note}\n\u2014 ${name} ${signature.toString("base64")}\n` },
          },
          canonicalizedBody: promised.body,
        },
      };
    },
  };
}

/** RFC 6962 §3.2 */
export const keyId = (publicKey: KeyObject): Buffer =>
  sha256(publicKey.export({ format: "der", type: "spki" }));

export const logInstance = (baseUrl: string, publicKey: KeyObject): Record<string, unknown> => ({
  baseUrl,
  hashAlgorithm: "SHA2_256",
  publicKey: {
    rawBytes: publicKey.export({ format: "der", type: "spki" }).toString("base64"),
    keyDetails: "PKIX_ECDSA_P256_SHA_256",
    validFor: { start: "2020-01-01T00:00:00Z" },
  },
  logId: { keyId: keyId(publicKey).toString("base64") },
});

const leafHash = (body: Buffer): Buffer => sha256(Buffer.from([0]), body);
const nodeHash = (left: Buffer, right: Buffer): Buffer => sha256(Buffer.from([1]), left, right);

/** The largest power of two below the number of leaves. */
const splitOf = (count: number): number => 2 ** Math.ceil(Math.log2(count) - 1);

function rootOf(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 1) return leaves[0]!;
  const split = splitOf(leaves.length);
  return nodeHash(rootOf(leaves.slice(0, split)), rootOf(leaves.slice(split)));
}

function proofOf(index: number, leaves: readonly Buffer[]): Buffer[] {
  if (leaves.length === 1) return [];
  const split = splitOf(leaves.length);
  return index < split
    ? [...proofOf(index, leaves.slice(0, split)), rootOf(leaves.slice(split))]
    : [...proofOf(index - split, leaves.slice(split)), rootOf(leaves.slice(0, split))];
}
