// SPDX-License-Identifier: Apache-2.0
import { afterAll, describe, expect, test } from "vitest";
import { issuerUnderTest } from "../token/attest-token.fixture.ts";

const { attest, issuer } = await issuerUnderTest(
  {
    kind: "terraform-cloud",
    issuer: "https://app.terraform.io",
    audience: "postern",
    organizationIds: ["org-GRNbCjYNpBB6NEBV"],
  },
  "https://app.terraform.io",
);
afterAll(() => issuer.close());

/** As HashiCorp documents it. */
const claims = {
  sub: "organization:my-org:project:Default Project:workspace:my-workspace:run_phase:apply",
  aud: "postern",
  terraform_run_phase: "apply",
  terraform_organization_id: "org-GRNbCjYNpBB6NEBV",
  terraform_organization_name: "my-org",
  terraform_project_id: "prj-vegSA59s1XPwMr2t",
  terraform_project_name: "Default Project",
  terraform_workspace_id: "ws-mbsd5E3Ktt5Rg2Xm",
  terraform_workspace_name: "my-workspace",
  terraform_full_workspace: "organization:my-org:project:Default Project:workspace:my-workspace",
  terraform_run_id: "run-X3n1AUXNGWbfECsJ",
};

describe("a token of HCP Terraform", () => {
  test.each<[string, object, string]>([
    [
      "of another organization",
      { terraform_organization_id: "org-AAAAAAAAAAAAAAAA" },
      "organization_not_listed",
    ],
    [
      "of an organization with another case",
      { terraform_organization_id: "org-grnbcjynpbb6nebv" },
      "organization_not_listed",
    ],
    ["without organization", { terraform_organization_id: undefined }, "ids_missing"],
    ["without workspace", { terraform_workspace_id: undefined }, "ids_missing"],
    ["for AWS", { aud: "aws.workload.identity" }, "token_audience_wrong"],
  ])("%s is refused", async (_, change, reason) => {
    expect(await attest(issuer.sign({ ...claims, ...change }))).toBe(reason);
  });

  test("proves organization, project, workspace and phase", async () => {
    expect(await attest(issuer.sign(claims))).toEqual([
      "terraform-cloud:organization-id=org-GRNbCjYNpBB6NEBV",
      "terraform-cloud:project-id=prj-vegSA59s1XPwMr2t",
      "terraform-cloud:run-phase=apply",
      "terraform-cloud:workspace-id=ws-mbsd5E3Ktt5Rg2Xm",
    ]);
  });
});
