// SPDX-License-Identifier: Apache-2.0
/** Which keys of a JWK set (RFC 7517) may verify a token? Entries that may not are passed over (§5). */
import { createPublicKey, type KeyObject } from "node:crypto";
import { type Result, ok, refuse } from "../result.ts";
import { isUsableKey, keyFits, type JwtAlgorithm } from "./algorithms.ts";
import { isJsonObject, type JsonRefusal, memberOf, parseStrictJson } from "./strict-json.ts";

export interface VerificationKey {
  readonly id: string | undefined;
  readonly key: KeyObject;
  /** The only algorithm that it is for, where the set says so. */
  readonly algorithm: string | undefined;
}

export type KeySetRefusal = JsonRefusal | "key_set_malformed" | "key_set_too_large";

const MOST_BYTES = 262_144;
const MOST_KEYS = 100;

export function parseKeySet(bytes: Uint8Array): Result<readonly VerificationKey[], KeySetRefusal> {
  if (bytes.length > MOST_BYTES) return refuse("key_set_too_large");
  const json = parseStrictJson(bytes);
  if (!json.ok) return json;
  const entries = isJsonObject(json.value) ? memberOf(json.value, "keys") : undefined;
  if (!Array.isArray(entries)) return refuse("key_set_malformed");
  if (entries.length > MOST_KEYS) return refuse("key_set_too_large");
  return ok(entries.flatMap((entry: unknown) => verificationKey(entry) ?? []));
}

function verificationKey(entry: unknown): VerificationKey | undefined {
  if (!isJsonObject(entry)) return undefined;
  const { alg, kid, use = "sig", key_ops: operations = ["verify"], d } = entry;
  // A private key that is published is nobody's any more.
  if (use !== "sig" || d !== undefined) return undefined;
  if (!Array.isArray(operations) || !operations.includes("verify")) return undefined;
  const key = readPublicJwk(entry);
  const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
  return key === undefined ? undefined : { id: text(kid), key, algorithm: text(alg) };
}

/** The public key that an entry holds, whatever it is for; undefined where it is of a kind that is not taken. */
export function readPublicJwk(entry: Readonly<Record<string, unknown>>): KeyObject | undefined {
  const material = ["kty", "n", "e", "crv", "x", "y"].map((name) => [name, memberOf(entry, name)] as const);
  return publicKey(Object.fromEntries(material.filter(([, value]) => typeof value === "string")));
}

function publicKey(jwk: Record<string, unknown>): KeyObject | undefined {
  try {
    const key = createPublicKey({ key: jwk, format: "jwk" });
    return isUsableKey(key) ? key : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The key that a token's header names. Without `kid` there must be one key only that fits: trying many would let a
 * stranger choose how much work a token makes.
 */
export function selectKey(
  keys: readonly VerificationKey[],
  algorithm: JwtAlgorithm,
  id: string | undefined,
): KeyObject | undefined {
  const fitting = keys.filter(
    (candidate) =>
      (id === undefined || candidate.id === id) &&
      (candidate.algorithm === undefined || candidate.algorithm === algorithm) &&
      keyFits(candidate.key, algorithm),
  );
  return fitting.length === 1 ? fitting[0]!.key : undefined;
}
