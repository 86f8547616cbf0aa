// SPDX-License-Identifier: Apache-2.0
/**
 * AWS EC2: the signed identity document of an instance, as its metadata service gives it (`/rsa2048`).
 *
 * The document has no audience, no nonce and no end, and every process of the instance can read it: so it counts once,
 * soon after the instance has started, and proves the instance, not who asks on it.
 */
import { type KeyObject, verify } from "node:crypto";
import type { ResourceOf } from "@postern/contract";
import { isJsonObject, memberOf, parseStrictJson } from "@postern/identity/jwt/strict-json";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { claimText } from "../token/read-claims.ts";
import type { Attested, AttestRefusal, TrustProvider } from "../trust-provider.ts";
import { regionKeys } from "./region-keys.ts";
import { type SignedContent, verifySignedData } from "./signed-data.ts";

type Spec = Extract<ResourceOf<"TrustProvider">["spec"], { kind: "aws-ec2" }>;
type Keys = ReadonlyMap<string, KeyObject>;

const AHEAD_MS = 30_000;
const MOST_BYTES = 16_384;
/** As old as a document may ever be, whatever `maxDocumentAge` is now: an operator may make it longer later. */
const OLDEST_MS = 31_536_000_000;

const refused = (reason: string, detail?: string): { ok: false; reason: AttestRefusal } =>
  refuse({ outcome: "refused", reason, ...(detail === undefined ? {} : { detail }) });

export function awsEc2(spec: Spec): TrustProvider {
  const strong = regionKeys("rsa2048", spec.regions, spec.certificates);
  const weak = spec.allowRsa1024 ? regionKeys("rsa1024", spec.regions, spec.certificates) : undefined;
  return {
    async attest({ bytes }, { now }) {
      if (bytes.length > MOST_BYTES) return refused("evidence_too_large");
      const isPair = bytes[0] === 0x7b;
      const keys = isPair ? weak : strong;
      if (keys === undefined) return refused("message_algorithm_refused", "RSA-1024 is not allowed here");
      const signed = isPair ? verifyPair(bytes, keys) : verifyMessage(bytes, keys);
      return signed.ok ? attested(signed.value, keys, spec, now) : refused(signed.reason);
    },
  };
}

/** Base64 in lines, as the metadata service gives it; with or without PEM's first and last line. */
function verifyMessage(bytes: Buffer, keys: Keys): Result<SignedContent, string> {
  const text = bytes
    .toString("latin1")
    .replaceAll(/-----(?:BEGIN|END) PKCS7-----/g, "")
    .replaceAll(/\s/g, "");
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return refuse("message_malformed");
  return verifySignedData(Buffer.from(text, "base64"), [...keys.values()]);
}

/** `{"document": text, "signature": base64}`: the answers of `/document` and `/signature`. */
function verifyPair(bytes: Buffer, keys: Keys): Result<SignedContent, string> {
  const pair = parseStrictJson(bytes);
  if (!pair.ok || !isJsonObject(pair.value)) return refuse("message_malformed");
  const [document, signature] = [memberOf(pair.value, "document"), memberOf(pair.value, "signature")];
  if (typeof document !== "string" || typeof signature !== "string") return refuse("message_malformed");
  const content = Buffer.from(document, "utf8");
  const signatureBytes = Buffer.from(signature, "base64");
  const key = [...keys.values()].find((one) => verify("sha256", content, one, signatureBytes));
  return key === undefined ? refuse("message_signature_wrong") : ok({ content, key });
}

/** Everything is read from the content that was verified. */
function attested(
  { content, key }: SignedContent,
  keys: Keys,
  { accountIds, maxDocumentAge }: Spec,
  now: number,
): Result<Attested, AttestRefusal> {
  const json = parseStrictJson(content);
  if (!json.ok || !isJsonObject(json.value)) return refused("document_malformed");
  const document = json.value;
  const at = (name: string): string | undefined => claimText(document, name);
  const [account, instance, region, started] = [
    at("accountId"),
    at("instanceId"),
    at("region"),
    at("pendingTime"),
  ];
  if (account === undefined || instance === undefined || region === undefined || started === undefined)
    return refused("document_malformed");
  // The key of another region, which may be less well guarded, does not speak for this one.
  if (!keys.get(region)?.equals(key)) return refused("region_wrong", `the document names ${region}`);
  if (!accountIds.includes(account)) return refused("account_not_listed", `it is of account ${account}`);
  const startedAt = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(started) ? Date.parse(started) : Number.NaN;
  const expiresAt = startedAt + maxDocumentAge * 1000;
  if (Number.isNaN(startedAt) || startedAt > now + AHEAD_MS) return refused("document_not_yet_valid");
  if (expiresAt <= now) return refused("document_too_old", `the instance started at ${started}`);
  return ok({
    facts: {
      "account-id": account,
      region,
      "availability-zone": at("availabilityZone"),
      "instance-id": instance,
      "image-id": at("imageId"),
      "instance-type": at("instanceType"),
    },
    expiresAt,
    usedUntil: startedAt + OLDEST_MS,
    // A start gives a new document; of one start there is one use, whoever comes first.
    singleUse: JSON.stringify([account, region, instance, started]),
  });
}
