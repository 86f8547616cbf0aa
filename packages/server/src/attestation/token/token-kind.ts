// SPDX-License-Identifier: Apache-2.0
/** What does one kind of issuer differ in? Everything else is the same for all tokens: `token-provider.ts`. */
import type { JwtAlgorithm } from "@postern/identity/jwt/algorithms";
import type { Claims } from "@postern/identity/jwt/verify-jwt";
import type { Clock } from "../../kernel/clock.ts";
import type { Reach } from "../authority/call-https.ts";
import { discoveredKeys, IssuerKeys, type ReadKeys } from "../authority/issuer-keys.ts";
import type { Facts, TrustProvider } from "../trust-provider.ts";
import type { Condition } from "./read-claims.ts";
import { type TokenPlan, tokenProvider } from "./token-provider.ts";

export interface TokenKind {
  readonly issuer: string;
  /** Where the discovery document is, if not below the issuer. */
  readonly discovery?: string;
  /** Where keys come from, if not from the issuer's discovery document. */
  readonly readKeys?: ReadKeys | undefined;
  readonly algorithms: readonly JwtAlgorithm[];
  /** Seconds that a token of this kind lives at most, unless the operator says otherwise. */
  readonly longestLife: number;
  readonly singleUse: boolean;
  demand(claims: Claims): string | undefined;
  facts(claims: Claims): Facts;
  readonly confirm?: TokenPlan["confirm"];
}

/** What an operator says of every kind. */
export interface TokenSettings extends Reach {
  readonly audience: string;
  readonly conditions?: readonly Condition[] | undefined;
  readonly maxTokenLifetime?: number | undefined;
}

export function providerOfKind(kind: TokenKind, settings: TokenSettings, clock: Clock): TrustProvider {
  const { algorithms, discovery, issuer, longestLife } = kind;
  const readKeys = kind.readKeys ?? discoveredKeys({ issuer, discovery, reach: settings });
  const { audience, conditions = [], maxTokenLifetime } = settings;
  const rules = {
    algorithms,
    audience,
    issuer,
    types: ["JWT"],
    longestLife: maxTokenLifetime ?? longestLife,
  };
  return tokenProvider({ ...kind, rules, conditions }, new IssuerKeys(readKeys, clock));
}
