// SPDX-License-Identifier: Apache-2.0
/** How do signers sign an image? As cosign does before and since version 3, and as builders attest provenance. */
import { createHash } from "node:crypto";
import type { ImageSigner, SignedLayer } from "./sigstore.ts";
import type { TransparencyLog } from "./transparency-log.ts";

export const BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json";
const IN_TOTO = "application/vnd.in-toto+json";
const SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json";

const sha256 = (data: Buffer): string => createHash("sha256").update(data).digest("hex");
const pem64 = ({ certificate, publicKey }: ImageSigner): string =>
  Buffer.from(certificate ?? publicKey).toString("base64");

/** The text that cosign signs. */
export const simpleSigningPayload = (digest: string, repository = "registry.example/agent"): Buffer =>
  Buffer.from(
    JSON.stringify({
      critical: {
        identity: { "docker-reference": repository },
        image: { "docker-manifest-digest": digest },
        type: "cosign container image signature",
      },
      optional: null,
    }),
  );

/** A layer of `sha256-….sig`. Without a log there is the signature alone. */
export function signSimply(signer: ImageSigner, payload: Buffer, log?: TransparencyLog): SignedLayer {
  const signature = signer.sign(payload).toString("base64");
  const entry = log?.append(
    {
      kind: "hashedrekord",
      apiVersion: "0.0.1",
      spec: {
        data: { hash: { algorithm: "sha256", value: sha256(payload) } },
        signature: { content: signature, publicKey: { content: pem64(signer) } },
      },
    },
    signer.at,
  );
  return {
    mediaType: SIMPLE_SIGNING,
    blob: payload,
    annotations: {
      "dev.cosignproject.cosign/signature": signature,
      ...materialOf(signer, entry?.annotation),
    },
  };
}

const materialOf = ({ certificate }: ImageSigner, entry: string | undefined): Record<string, string> => ({
  ...(certificate === undefined ? {} : { "dev.sigstore.cosign/certificate": certificate }),
  ...(entry === undefined ? {} : { "dev.sigstore.cosign/bundle": entry }),
});

/** An in-toto statement about an image. */
export const statement = (digest: string, predicateType: string, predicate: unknown = {}): Buffer =>
  Buffer.from(
    JSON.stringify({
      _type: "https://in-toto.io/Statement/v1",
      subject: [{ name: "agent", digest: { sha256: digest.replace("sha256:", "") } }],
      predicateType,
      predicate,
    }),
  );

/** DSSE v1: what is signed is the type and the text, each with its length. */
function envelope(signer: ImageSigner, payload: Buffer) {
  const encoded = Buffer.concat([
    Buffer.from(`DSSEv1 ${IN_TOTO.length} ${IN_TOTO} ${payload.length} `),
    payload,
  ]);
  const sig = signer.sign(encoded).toString("base64");
  return { payload: payload.toString("base64"), payloadType: IN_TOTO, signatures: [{ sig }] };
}

const logged = (
  signer: ImageSigner,
  payload: Buffer,
  sealed: ReturnType<typeof envelope>,
  log?: TransparencyLog,
) =>
  log?.append(
    {
      kind: "dsse",
      apiVersion: "0.0.1",
      spec: {
        envelopeHash: { algorithm: "sha256", value: sha256(Buffer.from(JSON.stringify(sealed))) },
        payloadHash: { algorithm: "sha256", value: sha256(payload) },
        signatures: [{ signature: sealed.signatures[0]!.sig, verifier: pem64(signer) }],
      },
    },
    signer.at,
  );

/** A layer of `sha256-….att`. */
export function attestSimply(signer: ImageSigner, payload: Buffer, log?: TransparencyLog): SignedLayer {
  const sealed = envelope(signer, payload);
  const annotations = materialOf(signer, logged(signer, payload, sealed, log)?.annotation);
  return {
    mediaType: "application/vnd.dsse.envelope.v1+json",
    blob: Buffer.from(JSON.stringify(sealed)),
    annotations,
  };
}

/** A Sigstore bundle, version 0.3, as a referrer holds it. */
export function signBundle(signer: ImageSigner, payload: Buffer, log?: TransparencyLog): SignedLayer {
  const sealed = envelope(signer, payload);
  const entry = logged(signer, payload, sealed, log)?.entry;
  const certificate = signer.certificate?.replaceAll(/-----[A-Z ]+-----|\s/g, "");
  const bundle = {
    mediaType: BUNDLE_TYPE,
    verificationMaterial: {
      ...(certificate === undefined
        ? { publicKey: { hint: "key" } }
        : { certificate: { rawBytes: certificate } }),
      tlogEntries: entry === undefined ? [] : [entry],
    },
    dsseEnvelope: sealed,
  };
  return { mediaType: BUNDLE_TYPE, blob: Buffer.from(JSON.stringify(bundle)), annotations: {} };
}
