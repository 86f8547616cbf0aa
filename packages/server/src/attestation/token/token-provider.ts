// SPDX-License-Identifier: Apache-2.0
/**
 * Evidence that is a JSON Web Token: the trust provider of every issuer, told apart by a plan.
 *
 * First what costs nothing (form, issuer, audience, times), then the keys, then the signature, then what this kind of
 * issuer demands, then the operator's conditions. Facts are read from verified claims only.
 */
import type { Claims, JwtRefusal, JwtRules, UntrustedJwt } from "@postern/identity/jwt/verify-jwt";
import { parseJwt, screenJwt, verifyJwt } from "@postern/identity/jwt/verify-jwt";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { KeySource } from "../authority/issuer-keys.ts";
import type { Attested, AttestRefusal, Facts, TrustProvider } from "../trust-provider.ts";
import { type Condition, claimText, isBoundToKey, meets } from "./read-claims.ts";

export interface TokenPlan {
  readonly rules: Omit<JwtRules, "now">;
  readonly conditions: readonly Condition[];
  /** Whether a token counts once only, by its `jti`. */
  readonly singleUse: boolean;
  /** What every token of this kind must say; the reason why not, or undefined. */
  demand(claims: Claims): string | undefined;
  facts(claims: Claims): Facts;
  /** Asks who else must agree, after everything else held; gives more facts. */
  readonly confirm?:
    | ((token: string, claims: Claims, signal: AbortSignal) => Promise<Result<Confirmed, AttestRefusal>>)
    | undefined;
}

export type Confirmed = Pick<Attested, "facts" | "images">;

export function tokenProvider(plan: TokenPlan, keys: KeySource): TrustProvider {
  return {
    async attest({ bytes }, { now, signal }) {
      const text = withoutLineEnd(bytes);
      const token = parseJwt(text);
      if (!token.ok) return refuse({ outcome: "refused", reason: token.reason });
      const rules = { ...plan.rules, now };
      const problem = screenJwt(token.value, rules);
      if (problem !== undefined) return refuse(tokenRefusal(problem, token.value, rules));
      const known = await keys.keysFor(token.value.keyId);
      if (!known.ok) return refuse({ outcome: "unavailable", reason: known.reason });
      const verified = verifyJwt(token.value, known.value, rules);
      if (!verified.ok) return refuse(tokenRefusal(verified.reason, token.value, rules));
      const { claims, expiresAt } = verified.value;
      const unmet = unmetDemand(plan, claims);
      if (unmet !== undefined) return refuse(unmet);
      const use = plan.singleUse ? tokenId(claims) : ok(undefined);
      if (!use.ok) return use;
      const more = await plan.confirm?.(text.toString("latin1"), claims, signal);
      if (more?.ok === false) return more;
      return ok({
        facts: { ...plan.facts(claims), ...more?.value.facts },
        images: more?.value.images,
        expiresAt,
        ...(use.value === undefined ? {} : { singleUse: use.value }),
      });
    },
  };
}

/** Files end with a line end. Nothing else is taken off. */
const withoutLineEnd = (bytes: Buffer): Buffer =>
  bytes.at(-1) === 0x0a ? bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1) : bytes;

function unmetDemand(plan: TokenPlan, claims: Claims): AttestRefusal | undefined {
  const reason = isBoundToKey(claims) ? "token_bound_to_key" : plan.demand(claims);
  if (reason !== undefined) return { outcome: "refused", reason, ...saidInstead(plan.facts(claims)) };
  const failed = plan.conditions.find((condition) => !meets(claims, condition));
  if (failed === undefined) return undefined;
  const said = claimText(claims, failed.claim);
  const detail = `claim ${failed.claim} ${said === undefined ? "is not there" : `is ${quoted(said)}`}`;
  return { outcome: "refused", reason: "condition_not_met", detail };
}

/** What a token says that was verified and is not enough: an operator may have to list one of these ids. */
function saidInstead(facts: Facts): { detail?: string } {
  const said = Object.entries(facts).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${[value].flat().join(",")}`],
  );
  const text = said.join(", ");
  return text === "" ? {} : { detail: `it says ${text.length > 300 ? `${text.slice(0, 300)}…` : text}` };
}

function tokenId(claims: Claims): Result<string, AttestRefusal> {
  const id = claimText(claims, "jti");
  return id === undefined ? refuse({ outcome: "refused", reason: "token_id_missing" }) : ok(id);
}

/** What the token says instead: the operator's usual question. Claims are no key to anything without the signature. */
function tokenRefusal(reason: JwtRefusal, token: UntrustedJwt, rules: JwtRules): AttestRefusal {
  const detail = explanation(reason, token, rules);
  return { outcome: "refused", reason, ...(detail === undefined ? {} : { detail }) };
}

function explanation(
  reason: JwtRefusal,
  { algorithm, claims, keyId, type }: UntrustedJwt,
  rules: JwtRules,
): string | undefined {
  const { aud, exp, iat, iss } = claims;
  switch (reason) {
    case "token_issuer_wrong":
      return `iss is ${quoted(iss)}, expected ${quoted(rules.issuer)}`;
    case "token_audience_wrong":
      return `aud is ${quoted(aud)}, expected ${quoted(rules.audience)} and nothing else`;
    case "token_algorithm_refused":
      return `alg is ${algorithm}, expected ${rules.algorithms.join(" or ")}`;
    case "token_type_refused":
      return `typ is ${quoted(type)}`;
    case "token_key_unknown":
      return `no key ${quoted(keyId)} for ${algorithm}`;
    case "token_expired":
      return `it ended ${instant(exp)}, and here it is ${instant(rules.now / 1000)}`;
    case "token_not_yet_valid":
      return `it begins ${instant(Math.max(Number(iat), Number(claims["nbf"] ?? 0)))}, and here it is ${instant(rules.now / 1000)}`;
    case "token_time_missing":
      return `iat is ${quoted(iat)}, exp is ${quoted(exp)}`;
    case "token_lives_too_long":
      return `it lives ${Number(exp) - Number(iat)} seconds, and ${rules.longestLife} at most are allowed`;
    default:
      return undefined;
  }
}

/** Of a NumericDate that was screened. */
const instant = (seconds: unknown): string => new Date(Math.floor(Number(seconds)) * 1000).toISOString();

function quoted(value: unknown): string {
  const text = JSON.stringify(value) ?? "absent";
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
