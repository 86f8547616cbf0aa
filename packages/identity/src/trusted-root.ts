// SPDX-License-Identifier: Apache-2.0
/**
 * Is a text a Sigstore trusted root that says of everything from when it counts?
 *
 * The library that verifies with it takes a log without a beginning as one that has always been trusted; here that is
 * refused (sigstore-conformance: `trust-root-tlog-missing-validity-start_fail`).
 */
import { createPublicKey, X509Certificate } from "node:crypto";
import { type Result, ok, refuse } from "./result.ts";
import { isJsonObject, memberOf, parseStrictJson } from "./jwt/strict-json.ts";

type Json = Readonly<Record<string, unknown>>;

export interface TrustedRootText {
  /** As parsed: nothing in it is said twice. */
  readonly json: Json;
  readonly hasAuthority: boolean;
  readonly hasLog: boolean;
}

const MOST_ENTRIES = 50;
const MEDIA_TYPE = /^application\/vnd\.dev\.sigstore\.trustedroot(\+json;version=0\.[12]|\.v0\.[12]\+json)$/;

/** Names of the protocol's enumerations: what a later version adds, the verifier would stumble over. */
const HASHES: readonly unknown[] = [undefined, "SHA2_256", "SHA2_384", "SHA2_512"];
type KeyForm = "spki" | "pkcs1";
const KEY_FORMS: ReadonlyMap<unknown, KeyForm> = new Map([
  ...[
    ...["PKIX_ECDSA_P256_SHA_256", "PKIX_ECDSA_P384_SHA_384", "PKIX_ECDSA_P521_SHA_512"],
    ...["PKIX_ED25519", "PKIX_ED25519_PH"],
  ].map((name) => [name, "spki"] as const),
  // By the verifier's reading, whatever the prefix says.
  ...[
    ...["PKCS1_RSA_PKCS1V5", "PKIX_RSA_PKCS1V5"],
    ...["2048", "3072", "4096"].map((bits) => `PKIX_RSA_PKCS1V15_${bits}_SHA256`),
  ].map((name) => [name, "pkcs1"] as const),
]);

export function parseTrustedRoot(bytes: Buffer): Result<TrustedRootText, string> {
  const parsed = parseStrictJson(bytes);
  if (!parsed.ok || !isJsonObject(parsed.value))
    return refuse("holds no JSON object, or says something twice");
  const json = parsed.value;
  const mediaType = memberOf(json, "mediaType");
  if (typeof mediaType !== "string" || !MEDIA_TYPE.test(mediaType))
    return refuse("is no trusted root (`mediaType`)");
  const [logs, ctLogs] = [listAt(json, "tlogs"), listAt(json, "ctlogs")];
  const [authorities, clocks] = [
    listAt(json, "certificateAuthorities"),
    listAt(json, "timestampAuthorities"),
  ];
  const lists = { logs, ctLogs, authorities, clocks };
  for (const [name, list] of Object.entries(lists))
    if (list === undefined || list.length > MOST_ENTRIES) return refuse(`holds no usable list of ${name}`);
  const problem = [
    ...[logs, ctLogs].flatMap((list) => list!.map(logProblem)),
    ...[authorities, clocks].flatMap((list) => list!.map(authorityProblem)),
  ].find((each) => each !== undefined);
  if (problem !== undefined) return refuse(problem);
  return ok({ json, hasAuthority: authorities!.length > 0 && ctLogs!.length > 0, hasLog: logs!.length > 0 });
}

/** Absent and null are empty. */
function listAt(json: Json, name: string): Json[] | undefined {
  const list = memberOf(json, name) ?? [];
  return Array.isArray(list) && list.every(isJsonObject) ? list : undefined;
}

function logProblem(log: Json): string | undefined {
  const key = objectAt(log, "publicKey");
  const id = objectAt(log, "logId");
  if (typeof memberOf(log, "baseUrl") !== "string" || memberOf(log, "baseUrl") === "")
    return "names a log without `baseUrl`";
  if (id === undefined || bytesAt(id, "keyId") === undefined) return "names a log without `logId`";
  const other = memberOf(log, "checkpointKeyId") ?? undefined;
  if (other !== undefined && (!isJsonObject(other) || bytesAt(other, "keyId") === undefined))
    return "names a log with a malformed `checkpointKeyId`";
  if (!HASHES.includes(memberOf(log, "hashAlgorithm") ?? undefined))
    return "names a log with an unknown hash";
  const form = key === undefined ? undefined : KEY_FORMS.get(memberOf(key, "keyDetails"));
  if (key === undefined || form === undefined || !isPublicKey(bytesAt(key, "rawBytes"), form))
    return "names a log whose key cannot be read";
  return validityProblem(objectAt(key, "validFor"), "log");
}

function authorityProblem(authority: Json): string | undefined {
  const chain = objectAt(authority, "certChain");
  const certificates = chain === undefined ? undefined : listAt(chain, "certificates");
  if (certificates === undefined || certificates.length === 0 || certificates.length > MOST_ENTRIES)
    return "names an authority without certificates";
  if (!certificates.every((each) => isCertificate(bytesAt(each, "rawBytes"))))
    return "names an authority whose certificate cannot be read";
  return validityProblem(objectAt(authority, "validFor"), "authority");
}

function validityProblem(validFor: Json | undefined, what: string): string | undefined {
  const start = validFor === undefined ? undefined : memberOf(validFor, "start");
  const end = validFor === undefined ? undefined : (memberOf(validFor, "end") ?? undefined);
  if (!isInstant(start)) return `names a ${what} without \`validFor.start\``;
  return end === undefined || isInstant(end)
    ? undefined
    : `names a ${what} with a malformed \`validFor.end\``;
}

const isInstant = (value: unknown): boolean =>
  typeof value === "string" &&
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/.test(value) &&
  Number.isFinite(Date.parse(value));

function objectAt(json: Json, name: string): Json | undefined {
  const value = memberOf(json, name);
  return isJsonObject(value) ? value : undefined;
}

function bytesAt(json: Json, name: string): Buffer | undefined {
  const value = memberOf(json, name);
  const isBase64 = typeof value === "string" && /^[A-Za-z0-9+/]+={0,2}$/.test(value);
  return isBase64 ? Buffer.from(value, "base64") : undefined;
}

function isPublicKey(der: Buffer | undefined, type: KeyForm): boolean {
  try {
    return der !== undefined && createPublicKey({ key: der, format: "der", type }).type === "public";
  } catch {
    return false;
  }
}

function isCertificate(der: Buffer | undefined): boolean {
  try {
    return der !== undefined && new X509Certificate(der).raw.equals(der);
  } catch {
    return false;
  }
}
