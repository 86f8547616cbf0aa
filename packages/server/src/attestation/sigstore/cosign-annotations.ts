// SPDX-License-Identifier: Apache-2.0
/**
 * What does cosign say in the annotations of a layer, as a Sigstore bundle? (cosign `SIGNATURE_SPEC.md`)
 *
 * Before there were bundles, cosign kept certificate, log entry and timestamp beside a signature, each in its own form.
 * They are put together as a bundle of version 0.1, so that one verifier sees them all.
 */
import { createHash, X509Certificate } from "node:crypto";
import { isJsonObject, memberOf, parseStrictJson } from "@postern/identity/jwt/strict-json";
import { type Result, ok, refuse } from "../../kernel/result.ts";

type Json = Readonly<Record<string, unknown>>;
type Annotations = Readonly<Record<string, string>>;

const BUNDLE = "application/vnd.dev.sigstore.bundle+json;version=0.1";
const SIGNATURE = "dev.cosignproject.cosign/signature";
const CERTIFICATE = "dev.sigstore.cosign/certificate";
const LOG_ENTRY = "dev.sigstore.cosign/bundle";
const TIMESTAMP = "dev.sigstore.cosign/rfc3161timestamp";
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** The bundle of a signature over `payload`. */
export function simpleSigningBundle(annotations: Annotations, payload: Buffer): Result<Json, string> {
  const signature = annotations[SIGNATURE];
  if (signature === undefined || !BASE64.test(signature)) return refuse("signature_missing");
  const material = materialOf(annotations);
  if (!material.ok) return material;
  const digest = createHash("sha256").update(payload).digest("base64");
  const messageSignature = { messageDigest: { algorithm: "SHA2_256", digest }, signature };
  return ok({ mediaType: BUNDLE, verificationMaterial: material.value, messageSignature });
}

/** The bundle of an envelope that a layer holds as it is. */
export function envelopeBundle(annotations: Annotations, envelope: Buffer): Result<Json, string> {
  const parsed = parseStrictJson(envelope);
  if (!parsed.ok || !isJsonObject(parsed.value)) return refuse("envelope_malformed");
  const material = materialOf(annotations);
  if (!material.ok) return material;
  const { payload, payloadType, signatures } = parsed.value;
  return ok({
    mediaType: BUNDLE,
    verificationMaterial: material.value,
    dsseEnvelope: { payload, payloadType, signatures },
  });
}

/** The chain beside the certificate is left out: intermediates come from the trusted root. */
function materialOf(annotations: Annotations): Result<Json, string> {
  const pem = annotations[CERTIFICATE];
  const signer = pem === undefined || pem === "" ? { publicKey: { hint: "" } } : certificateOf(pem);
  if (signer === undefined) return refuse("certificate_malformed");
  const entry = logEntryOf(annotations[LOG_ENTRY]);
  if (!entry.ok) return entry;
  const timestamp = timestampOf(annotations[TIMESTAMP]);
  if (!timestamp.ok) return timestamp;
  return ok({
    ...signer,
    tlogEntries: entry.value,
    timestampVerificationData: { rfc3161Timestamps: timestamp.value },
  });
}

function certificateOf(pem: string): Json | undefined {
  try {
    const rawBytes = new X509Certificate(pem).raw.toString("base64");
    return { x509CertificateChain: { certificates: [{ rawBytes }] } };
  } catch {
    return undefined;
  }
}

function logEntryOf(text: string | undefined): Result<Json[], string> {
  if (text === undefined || text === "") return ok([]);
  const malformed = refuse("log_entry_malformed");
  const object = objectOf(text);
  const payload = object && memberOf(object, "Payload");
  if (object === undefined || !isJsonObject(payload)) return malformed;
  const [promise, body] = [memberOf(object, "SignedEntryTimestamp"), memberOf(payload, "body")];
  const [time, index] = [memberOf(payload, "integratedTime"), memberOf(payload, "logIndex")];
  const log = memberOf(payload, "logID");
  const isUsable =
    isBase64(promise) && isBase64(body) && typeof log === "string" && /^[0-9a-f]{64}$/.test(log);
  if (!isUsable || !isCount(time) || !isCount(index)) return malformed;
  const entry = objectOf(Buffer.from(body, "base64"));
  const [kind, version] = [entry && memberOf(entry, "kind"), entry && memberOf(entry, "apiVersion")];
  if (typeof kind !== "string" || typeof version !== "string") return malformed;
  return ok([
    {
      logIndex: String(index),
      logId: { keyId: Buffer.from(log, "hex").toString("base64") },
      kindVersion: { kind, version },
      integratedTime: String(time),
      inclusionPromise: { signedEntryTimestamp: promise },
      canonicalizedBody: body,
    },
  ]);
}

function timestampOf(text: string | undefined): Result<Json[], string> {
  if (text === undefined || text === "") return ok([]);
  const object = objectOf(text);
  const signed = object && memberOf(object, "SignedRFC3161Timestamp");
  return isBase64(signed) ? ok([{ signedTimestamp: signed }]) : refuse("timestamp_malformed");
}

function objectOf(text: string | Buffer): Json | undefined {
  const parsed = parseStrictJson(Buffer.from(text));
  return parsed.ok && isJsonObject(parsed.value) ? parsed.value : undefined;
}

const isBase64 = (value: unknown): value is string => typeof value === "string" && BASE64.test(value);
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
