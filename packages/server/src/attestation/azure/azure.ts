// SPDX-License-Identifier: Apache-2.0
/**
 * Azure: the access token of a managed identity, or of an application, of one directory (tenant).
 *
 * The issuer is the tenant's own and the keys are asked for there: never `common`, which signs for every tenant.
 */
import type { ResourceOf, SelectorName } from "@postern/contract";
import { memberOf } from "@postern/identity/jwt/strict-json";
import type { Claims } from "@postern/identity/jwt/verify-jwt";
import { claimText } from "../token/read-claims.ts";
import type { TokenKind } from "../token/token-kind.ts";

type Spec = Extract<ResourceOf<"TrustProvider">["spec"], { kind: "azure" }>;

export const azure = ({ tenantId, tokenVersion }: Spec): TokenKind => {
  const login = `https://login.microsoftonline.com/${tenantId}`;
  const version2 = { issuer: `${login}/v2.0` };
  const version1 = {
    issuer: `https://sts.windows.net/${tenantId}/`,
    discovery: `${login}/.well-known/openid-configuration`,
  };
  return {
    ...(tokenVersion === 2 ? version2 : version1),
    algorithms: ["RS256"],
    // Managed identities get tokens of a day.
    longestLife: 90_000,
    singleUse: false,
    demand: (claims) => {
      if (claimText(claims, "tid") !== tenantId) return "tenant_wrong";
      // A token of a user says the same of the application in between.
      if (isOfUser(claims)) return "token_of_a_user";
      const { "application-id": application, "object-id": object } = facts(claims);
      return application === undefined || object === undefined ? "ids_missing" : undefined;
    },
    facts,
  };
};

/**
 * Tokens of applications have no scopes, say `idtyp: app` where they say it at all, and have their own object as subject;
 * the subject of a user's is another one for each application.
 */
const isOfUser = (claims: Claims): boolean =>
  memberOf(claims, "scp") !== undefined ||
  ![undefined, "app"].includes(memberOf(claims, "idtyp") as string | undefined) ||
  memberOf(claims, "sub") !== memberOf(claims, "oid");

/** Names of Azure resources are the same in upper and lower case; here they are in lower case. */
const RESOURCE_ID = /^\/subscriptions\/([0-9a-f-]{36})\/resourcegroups\/([^/]+)\/providers\/.+$/;

function facts(claims: Claims): Readonly<Record<SelectorName<"azure">, string | undefined>> {
  const resource = claimText(claims, "xms_mirid")?.toLowerCase();
  const [, subscription, group] = RESOURCE_ID.exec(resource ?? "") ?? [];
  return {
    "tenant-id": claimText(claims, "tid"),
    "object-id": claimText(claims, "oid"),
    "application-id": claimText(claims, "appid") ?? claimText(claims, "azp"),
    "resource-id": resource,
    "subscription-id": subscription,
    "resource-group": group,
  };
}
