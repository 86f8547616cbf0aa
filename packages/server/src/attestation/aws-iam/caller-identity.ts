// SPDX-License-Identifier: Apache-2.0
/**
 * Asks STS who signed a request of `sts:GetCallerIdentity`: AWS knows the key, we never see it.
 *
 * The audience is in a header that was signed, so that a request made for somebody else is refused by AWS when it comes
 * with ours. The answer is asked for as JSON, which has one reading here, and read at one place in it.
 */
import { isJsonObject, parseStrictJson } from "@postern/identity/jwt/strict-json";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { callHttps, type HttpsAnswer } from "../authority/call-https.ts";
import { claimText, meets } from "../token/read-claims.ts";
import type { TokenSettings } from "../token/token-kind.ts";
import type { Attested, AttestRefusal, TrustProvider } from "../trust-provider.ts";
import { parsePrincipal, principalFacts } from "./principal.ts";
import { AUDIENCE_HEADER, NONCE_HEADER, parseSignedRequest, type SignedRequest } from "./signed-request.ts";

export interface CallerIdentitySettings extends TokenSettings {
  readonly accountIds: readonly string[];
  readonly regions: readonly string[];
}

const refused = (reason: string, detail?: string): { ok: false; reason: AttestRefusal } =>
  refuse({ outcome: "refused", reason, ...(detail === undefined ? {} : { detail }) });
const unavailable = (reason: string): { ok: false; reason: AttestRefusal } =>
  refuse({ outcome: "unavailable", reason });

export function callerIdentity(settings: CallerIdentitySettings): TrustProvider {
  const { audience, regions } = settings;
  return {
    async attest({ bytes }, { now, signal }) {
      const text = bytes.toString("latin1").replace(/\r?\n$/, "");
      const request = parseSignedRequest(text, { now, regions });
      if (!request.ok) return refused(request.reason, hintOf(request.reason, regions));
      const answer = await callHttps(
        {
          url: request.value.url,
          method: "GET",
          headers: {
            accept: "application/json",
            [AUDIENCE_HEADER]: audience,
            [NONCE_HEADER]: request.value.nonce,
          },
        },
        settings,
        signal,
      );
      if (!answer.ok) return unavailable(answer.reason);
      return attestedBy(answer.value, request.value, settings);
    },
  };
}

function hintOf(reason: string, regions: readonly string[]): string | undefined {
  if (reason !== "request_host_refused") return undefined;
  return `expected https://sts.REGION.amazonaws.com/?…#NONCE, with a region of ${regions.join(", ")}`;
}

function attestedBy(
  answer: HttpsAnswer,
  { expiresAt, region, signature }: SignedRequest,
  { accountIds, conditions = [] }: CallerIdentitySettings,
): Result<Attested, AttestRefusal> {
  const { status } = answer;
  // 400 and 403 are about the request; anything else is about STS.
  if (status === 400 || status === 403)
    return refused("request_refused_by_aws", "was it signed with this audience and this nonce?");
  if (status !== 200) return unavailable(`authority_status_${status}`);
  const identity = identityOf(answer);
  if (identity === undefined) return unavailable("authority_answer_malformed");
  const principal = parsePrincipal(claimText(identity, "Arn") ?? "");
  if (principal === undefined) return refused("principal_refused");
  if (principal.account !== claimText(identity, "Account")) return refused("account_inconsistent");
  if (!accountIds.includes(principal.account))
    return refused("account_not_listed", `it is of account ${principal.account}`);
  if (!conditions.every((condition) => meets(identity, condition))) return refused("condition_not_met");
  // `AROA…:session` of a role, `AIDA…` of a user: never given again, unlike names.
  const [id] = claimText(identity, "UserId")?.split(":") ?? [];
  return ok({
    facts: { ...principalFacts(principal), [`${principal.kind}-id`]: id, region },
    expiresAt,
    singleUse: signature,
  });
}

function identityOf({ body, contentType }: HttpsAnswer): Readonly<Record<string, unknown>> | undefined {
  if (!/^application\/json\b/.test(contentType)) return undefined;
  let at = parseStrictJson(body);
  for (const name of ["GetCallerIdentityResponse", "GetCallerIdentityResult"]) {
    if (!at.ok || !isJsonObject(at.value) || !Object.hasOwn(at.value, name)) return undefined;
    at = ok(at.value[name]);
  }
  return at.ok && isJsonObject(at.value) ? at.value : undefined;
}
