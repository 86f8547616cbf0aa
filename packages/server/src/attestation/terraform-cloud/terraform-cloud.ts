// SPDX-License-Identifier: Apache-2.0
/**
 * HCP Terraform and Terraform Enterprise: the workload identity token of a run.
 *
 * app.terraform.io signs for every organization there is, so those that count are named in the settings, by their ids.
 */
import type { ResourceOf } from "@postern/contract";
import { claimText } from "../token/read-claims.ts";
import { type FactTable, factsOf } from "../token/facts-of.ts";
import type { TokenKind } from "../token/token-kind.ts";

type Spec = Extract<ResourceOf<"TrustProvider">["spec"], { kind: "terraform-cloud" }>;

const FACTS: FactTable<"terraform-cloud"> = {
  "organization-id": "terraform_organization_id",
  "project-id": "terraform_project_id",
  "workspace-id": "terraform_workspace_id",
  "run-phase": "terraform_run_phase",
};

export const terraformCloud = ({ issuer, organizationIds }: Spec): TokenKind => ({
  issuer,
  algorithms: ["RS256"],
  // A token lives as long as its run may wait and work.
  longestLife: 90_000,
  singleUse: false,
  demand: (claims) => {
    const organization = claimText(claims, "terraform_organization_id");
    if (organization === undefined || claimText(claims, "terraform_workspace_id") === undefined)
      return "ids_missing";
    return organizationIds.includes(organization) ? undefined : "organization_not_listed";
  },
  facts: (claims) => factsOf(claims, FACTS),
});
