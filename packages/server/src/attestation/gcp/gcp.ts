// SPDX-License-Identifier: Apache-2.0
/**
 * Google Cloud: the identity token of the metadata server or of a service account.
 *
 * Google signs for everybody who has an account, so the projects or the service accounts are named in the settings. The
 * keys come from the issuer alone: a `kid` never leads to the keys of a service account, which its owner can use.
 */
import type { ResourceOf } from "@postern/contract";
import type { Claims } from "@postern/identity/jwt/verify-jwt";
import { claimText } from "../token/read-claims.ts";
import { type FactTable, factsOf } from "../token/facts-of.ts";
import type { TokenKind } from "../token/token-kind.ts";

type Spec = Extract<ResourceOf<"TrustProvider">["spec"], { kind: "gcp" }>;

/** There only where the token was asked for with `format=full`, on a virtual machine. */
const MACHINE = "/google/compute_engine";

const FACTS: FactTable<"gcp"> = {
  "service-account-id": "sub",
  "service-account": "email",
  "project-id": `${MACHINE}/project_id`,
  "project-number": `${MACHINE}/project_number`,
  zone: `${MACHINE}/zone`,
  "instance-id": `${MACHINE}/instance_id`,
  "instance-name": `${MACHINE}/instance_name`,
};

export const gcp = (spec: Spec): TokenKind => ({
  issuer: "https://accounts.google.com",
  algorithms: ["RS256"],
  longestLife: 3660,
  // The metadata server hands out one token again and again, until it is nearly over.
  singleUse: false,
  demand: (claims) => demand(spec, claims),
  facts: (claims) => {
    const { "service-account": email, ...facts } = factsOf(claims, FACTS);
    return claimText(claims, "email_verified") === "true" ? { ...facts, "service-account": email } : facts;
  },
});

/** Every list that is given must be met: a token without a machine is no way round the projects. */
function demand({ projectIds, serviceAccountIds }: Spec, claims: Claims): string | undefined {
  const account = claimText(claims, "sub");
  if (account === undefined) return "ids_missing";
  if (serviceAccountIds !== undefined && !serviceAccountIds.includes(account))
    return "service_account_not_listed";
  if (projectIds === undefined) return undefined;
  const project = claimText(claims, `${MACHINE}/project_id`);
  if (project === undefined || claimText(claims, `${MACHINE}/instance_id`) === undefined)
    return "machine_missing";
  return projectIds.includes(project) ? undefined : "project_not_listed";
}
