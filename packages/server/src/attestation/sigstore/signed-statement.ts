// SPDX-License-Identifier: Apache-2.0
/**
 * What does a signed text say, and does it say it of this image? The digest is all that binds a signature to an image.
 *
 * Two texts are known: cosign's "simple signing" payload, and in-toto statements (v0.1 and v1) in a DSSE envelope.
 */
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { isJsonObject, memberOf, parseStrictJson } from "@postern/identity/jwt/strict-json";

type Json = Readonly<Record<string, unknown>>;

/** "I signed this image", or an attestation of something about it, by its predicate type. */
export type Statement =
  { readonly says: "signed" } | { readonly says: "attested"; readonly predicate: string };

/** cosign 3 signs by an in-toto statement with this predicate. */
const SIGNED = "https://sigstore.dev/cosign/sign/v1";
const IN_TOTO = "application/vnd.in-toto+json";
const STATEMENT_TYPES = ["https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1"];
const SIMPLE_TYPES = ["cosign container image signature", SIGNED];
const MOST_SUBJECTS = 1000;

/** https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md */
export function readSimpleSigning(payload: Buffer, digest: string): Result<Statement, string> {
  const parsed = parseStrictJson(payload);
  const critical = parsed.ok && isJsonObject(parsed.value) ? objectAt(parsed.value, "critical") : undefined;
  const image = critical === undefined ? undefined : objectAt(critical, "image");
  if (critical === undefined || image === undefined) return refuse("payload_malformed");
  if (!SIMPLE_TYPES.includes(String(memberOf(critical, "type")))) return refuse("payload_of_another_type");
  return memberOf(image, "docker-manifest-digest") === digest
    ? ok({ says: "signed" })
    : refuse("signature_of_another_image");
}

/** https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md */
export function readStatement(
  { payload, type }: { readonly type: string; readonly payload: Buffer },
  digest: string,
): Result<Statement, string> {
  if (type !== IN_TOTO) return refuse("payload_of_another_type");
  const parsed = parseStrictJson(payload);
  if (!parsed.ok || !isJsonObject(parsed.value)) return refuse("payload_malformed");
  const statement = parsed.value;
  if (!STATEMENT_TYPES.includes(String(memberOf(statement, "_type"))))
    return refuse("payload_of_another_type");
  const predicate = memberOf(statement, "predicateType");
  const subjects = memberOf(statement, "subject");
  const isUsable =
    typeof predicate === "string" && Array.isArray(subjects) && subjects.length <= MOST_SUBJECTS;
  if (!isUsable) return refuse("payload_malformed");
  if (!subjects.some((subject) => isJsonObject(subject) && isOf(subject, digest)))
    return refuse("signature_of_another_image");
  return ok(predicate === SIGNED ? { says: "signed" } : { says: "attested", predicate });
}

function isOf(subject: Json, digest: string): boolean {
  const digests = objectAt(subject, "digest");
  return digests !== undefined && `sha256:${String(memberOf(digests, "sha256"))}` === digest;
}

function objectAt(json: Json, name: string): Json | undefined {
  const value = memberOf(json, name);
  return isJsonObject(value) ? value : undefined;
}
