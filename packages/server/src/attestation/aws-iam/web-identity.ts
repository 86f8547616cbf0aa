// SPDX-License-Identifier: Apache-2.0
/**
 * The token of `sts:GetWebIdentityToken`. Each account has an issuer of its own.
 *
 * `request_tags` are whatever the caller asked for, so they are no facts.
 */
import type { Claims } from "@postern/identity/jwt/verify-jwt";
import { claimText } from "../token/read-claims.ts";
import type { TokenKind } from "../token/token-kind.ts";
import { parsePrincipal, principalFacts } from "./principal.ts";

const aws = (claims: Claims, name: string): string | undefined =>
  claimText(claims, `/https:~1~1sts.amazonaws.com~1/${name}`);

export const webIdentity = (issuer: string, accountIds: readonly string[]): TokenKind => ({
  issuer,
  algorithms: ["RS256", "ES384"],
  longestLife: 3600,
  singleUse: true,
  demand: (claims) => {
    const principal = parsePrincipal(claimText(claims, "sub") ?? "");
    if (principal === undefined) return "principal_refused";
    if (principal.account !== aws(claims, "aws_account")) return "account_inconsistent";
    return accountIds.includes(principal.account) ? undefined : "account_not_listed";
  },
  facts: (claims) => {
    const principal = parsePrincipal(claimText(claims, "sub") ?? "");
    return {
      ...(principal === undefined ? {} : principalFacts(principal)),
      "organization-id": aws(claims, "org_id"),
      "lambda-function": aws(claims, "lambda_source_function_arn"),
      "ec2-instance": aws(claims, "ec2_source_instance_arn"),
      region: aws(claims, "source_region"),
    };
  },
});
