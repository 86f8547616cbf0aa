// SPDX-License-Identifier: Apache-2.0
/** Whose token is this, and is it meant for us? (JWT-SVID §3–§5) */
import { verifyJwtSvid, type VerifiedJwtSvid } from "@postern/identity/jwt-svid";
import type { TrustBundle } from "@postern/identity/trust-bundle";
import { SpiffeError } from "./spiffe-error.ts";

export type ValidatedJwtSvid = VerifiedJwtSvid;

export interface JwtRules {
  /** What we are called; the token must name it. */
  readonly audience: string;
  bundleOf(trustDomain: string): TrustBundle | undefined;
}

/** Throws where the token proves nothing. */
export function validateJwtSvid(token: string, { audience, bundleOf }: JwtRules): ValidatedJwtSvid {
  if (audience === "") throw new SpiffeError("argument_invalid", "name the audience that tokens must be for");
  const verified = verifyJwtSvid(token, audience, bundleOf, Date.now());
  if (verified.ok) return verified.value;
  throw new SpiffeError("token_refused", `the JWT-SVID is refused: ${verified.reason}`, {
    reason: verified.reason,
  });
}

/** The token of an `Authorization: Bearer …` header (JWT-SVID §5); undefined where there is none, or several headers. */
export function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer ([A-Za-z0-9._~+/-]+=*)$/i.exec(header ?? "")?.[1];
}
