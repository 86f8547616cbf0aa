// SPDX-License-Identifier: Apache-2.0
/** What does one kind of issuer differ in? Everything else is the same for all tokens: `token-provider.ts`. */
import type { JwtAlgorithm } from "../../identity/jwt/algorithms.ts";
import type { Claims } from "../../identity/jwt/verify-jwt.ts";
import type { Clock } from "../../kernel/clock.ts";
import type { Reach } from "../authority/call-https.ts";
import { IssuerKeys, type KeySource } from "../authority/issuer-keys.ts";
import type { Facts, TrustProvider } from "../trust-provider.ts";
import type { Condition } from "./read-claims.ts";
import { tokenProvider } from "./token-provider.ts";

export interface TokenKind {
  readonly issuer: string;
  /** Where the discovery document is, if not below the issuer. */
  readonly discovery?: string;
  readonly algorithms: readonly JwtAlgorithm[];
  /** Seconds that a token of this kind lives at most, unless the operator says otherwise. */
  readonly longestLife: number;
  readonly singleUse: boolean;
  demand(claims: Claims): string | undefined;
  facts(claims: Claims): Facts;
}

/** What an operator says of every kind. */
export interface TokenSettings extends Reach {
  readonly audience: string;
  readonly conditions?: readonly Condition[] | undefined;
  readonly maxTokenLifetime?: number | undefined;
}

export function providerOfKind(
  kind: TokenKind,
  settings: TokenSettings,
  clock: Clock,
  keys: KeySource = new IssuerKeys(
    { issuer: kind.issuer, discovery: kind.discovery, reach: settings },
    clock,
  ),
): TrustProvider {
  const { algorithms, demand, facts, issuer, longestLife, singleUse } = kind;
  const { audience, conditions = [], maxTokenLifetime } = settings;
  const rules = {
    algorithms,
    audience,
    issuer,
    types: ["JWT"],
    longestLife: maxTokenLifetime ?? longestLife,
  };
  return tokenProvider({ rules, conditions, singleUse, demand, facts }, keys);
}
