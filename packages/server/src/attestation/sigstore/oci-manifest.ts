// SPDX-License-Identifier: Apache-2.0
/** What does a manifest or an index of a registry list? (OCI Image Specification 1.1) The caller bounds the size. */
import { isJsonObject, memberOf, parseStrictJson } from "@postern/identity/jwt/strict-json";
import { type Result, ok, refuse } from "../../kernel/result.ts";

type Json = Readonly<Record<string, unknown>>;

export interface Descriptor {
  readonly digest: string;
  readonly size: number;
  readonly mediaType: string;
  /** Empty where it has none. */
  readonly artifactType: string;
  readonly annotations: Readonly<Record<string, string>>;
}

const MOST_LISTED = 200;
const MOST_ANNOTATION = 65_536;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** The layers of a manifest, in order. */
export const readLayers = (body: Buffer): Result<Descriptor[], string> => readList(body, "layers");

/** What an index lists, such as the answer of the referrers API. */
export const readIndex = (body: Buffer): Result<Descriptor[], string> => readList(body, "manifests");

function readList(body: Buffer, name: string): Result<Descriptor[], string> {
  const parsed = parseStrictJson(body);
  if (!parsed.ok || !isJsonObject(parsed.value) || memberOf(parsed.value, "schemaVersion") !== 2)
    return refuse("registry_answer_malformed");
  const list = memberOf(parsed.value, name);
  if (!Array.isArray(list)) return refuse("registry_answer_malformed");
  if (list.length > MOST_LISTED) return refuse("registry_lists_too_much");
  const descriptors = list.map(descriptorOf);
  const isWhole = descriptors.every((each) => each !== undefined);
  return isWhole ? ok(descriptors) : refuse("registry_answer_malformed");
}

function descriptorOf(value: unknown): Descriptor | undefined {
  if (!isJsonObject(value)) return undefined;
  const [digest, size] = [memberOf(value, "digest"), memberOf(value, "size")];
  const [mediaType, artifactType = ""] = [memberOf(value, "mediaType"), memberOf(value, "artifactType")];
  const annotations = annotationsOf(value);
  const isUsable =
    typeof digest === "string" &&
    DIGEST.test(digest) &&
    Number.isSafeInteger(size) &&
    (size as number) >= 0 &&
    typeof mediaType === "string" &&
    typeof artifactType === "string";
  if (!isUsable || annotations === undefined) return undefined;
  return { digest, size: size as number, mediaType, artifactType, annotations };
}

function annotationsOf(descriptor: Json): Record<string, string> | undefined {
  const all = memberOf(descriptor, "annotations") ?? {};
  if (!isJsonObject(all)) return undefined;
  const entries = Object.entries(all).filter(
    (entry): entry is [string, string] => typeof entry[1] === "string" && entry[1].length <= MOST_ANNOTATION,
  );
  return entries.length === Object.keys(all).length ? Object.fromEntries(entries) : undefined;
}
