// SPDX-License-Identifier: Apache-2.0
/** What does a token's claim say, as the text that selectors and conditions compare? */
import type { Claims } from "@postern/identity/jwt/verify-jwt";
import { isJsonObject, memberOf } from "@postern/identity/jwt/strict-json";

export interface Condition {
  readonly claim: string;
  readonly oneOf: readonly string[];
}

const MOST_TEXT = 1024;
const MOST_VALUES = 50;

/** A claim by name, or by JSON pointer (RFC 6901) where the reference starts with a slash. */
function claimAt(claims: Claims, reference: string): unknown {
  if (!reference.startsWith("/")) return memberOf(claims, reference);
  let at: unknown = claims;
  for (const step of reference.slice(1).split("/")) {
    if (!isJsonObject(at)) return undefined;
    at = memberOf(at, step.replaceAll("~1", "/").replaceAll("~0", "~"));
  }
  return at;
}

/** Text, whole numbers and truth values have one form each; of anything else nothing is said. */
function textOf(value: unknown): string | undefined {
  if (typeof value === "boolean" || Number.isSafeInteger(value)) return String(value);
  const isPlain = typeof value === "string" && value !== "" && value.length <= MOST_TEXT;
  return isPlain && !/\p{Cc}/u.test(value) ? value : undefined;
}

export const claimText = (claims: Claims, reference: string): string | undefined =>
  textOf(claimAt(claims, reference));

/** One text, or those of a list. */
export function claimTexts(claims: Claims, reference: string): string | readonly string[] | undefined {
  const value = claimAt(claims, reference);
  if (!Array.isArray(value)) return textOf(value);
  return value.slice(0, MOST_VALUES).flatMap((one) => textOf(one) ?? []);
}

/**
 * Whether the issuer has bound the token to a key (RFC 7800 §3.1, RFC 8705 §3, RFC 9449 §6): whoever presents it here proves
 * no key, so it may be stolen.
 */
export const isBoundToKey = (claims: Claims): boolean => memberOf(claims, "cnf") !== undefined;

/** A list meets a condition where one of its entries does. */
export function meets(claims: Claims, { claim, oneOf }: Condition): boolean {
  return [claimTexts(claims, claim) ?? []].flat().some((text) => oneOf.includes(text));
}
