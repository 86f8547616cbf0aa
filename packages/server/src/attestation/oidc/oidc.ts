// SPDX-License-Identifier: Apache-2.0
/** Any issuer that speaks OpenID Connect Discovery: the operator says which claims are facts. */
import type { ResourceOf } from "@postern/contract";
import { claimText, claimTexts } from "../token/read-claims.ts";
import type { TokenKind } from "../token/token-kind.ts";

type Spec = Extract<ResourceOf<"TrustProvider">["spec"], { kind: "oidc" }>;

export const oidc = ({ algorithms, issuer, mapping, singleUse }: Spec): TokenKind => ({
  issuer,
  algorithms,
  longestLife: 3600,
  singleUse,
  demand: (claims) => (claimText(claims, "sub") === undefined ? "subject_missing" : undefined),
  facts: (claims) => ({
    ...Object.fromEntries(
      Object.entries(mapping).map(([name, reference]) => [name, claimTexts(claims, reference)]),
    ),
    subject: claimText(claims, "sub"),
  }),
});
