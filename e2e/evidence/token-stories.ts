// SPDX-License-Identifier: Apache-2.0
/** The stories of trust providers that take the token of an issuer of their own: CI systems, clouds, and any other. */
import { startTokenIssuer, type TestAuthority } from "@postern/testkit";
import { AUDIENCE, type Break, breaks, NOWHERE, reach, type Story } from "./story.ts";
import { tokenBreaks } from "./token-breaks.ts";

const TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const OBJECT = "bbbbbbbb-0000-0000-0000-000000000002";
const OTHER_OBJECT = "cccccccc-0000-0000-0000-000000000003";
const OTHER_TENANT = "0f0f0f0f-86f1-41af-91ab-2d7cd011db47";

interface TokenStory extends Pick<Story, "selectors" | "path" | "spec"> {
  readonly issuer: string;
  /** Where the keys are, if not at the issuer's host. */
  readonly names?: readonly string[];
  readonly claims: Readonly<Record<string, unknown>>;
  /** What is wrong → the claims that differ → the reason. */
  readonly wrong: readonly (readonly [name: string, change: object, reason: string])[];
  readonly isSingleUse: boolean;
}

async function tokenStory(authority: TestAuthority, told: TokenStory): Promise<Story> {
  const { issuer: name, names, isSingleUse, wrong } = told;
  const issuer = await startTokenIssuer({ authority, issuer: name, ...(names && { names }) });
  const usual = { aud: AUDIENCE, ...told.claims };
  const good = (): string => issuer.sign(usual);
  const replay: Break = {
    ...{ name: "that was used before", evidence: good, reason: "evidence_used_before", isReplay: true },
  };
  return {
    ...{ selectors: told.selectors, path: told.path, evidence: good, down: NOWHERE },
    spec: { audience: AUDIENCE, ...told.spec, ...reach(authority, issuer.port) },
    breaks: [
      ...breaks(
        wrong.map(([what, change, reason]) => [what, () => issuer.sign({ ...usual, ...change }), reason]),
      ),
      ...tokenBreaks(issuer, good),
      ...(isSingleUse ? [replay] : []),
    ],
    close: () => issuer.close(),
  };
}

const githubActions: TokenStory = {
  issuer: "https://token.actions.githubusercontent.com",
  spec: { kind: "github-actions", ownerIds: ["9919"] },
  claims: {
    ...{ sub: "repo:octo-org@9919/octo-repo@74:environment:prod", repository: "octo-org/octo-repo" },
    ...{ repository_id: "74", repository_owner: "octo-org", repository_owner_id: "9919" },
    ...{ environment: "prod", ref: "refs/heads/main", ref_protected: "true", event_name: "push" },
    ...{ runner_environment: "github-hosted", actor_id: "12", run_id: "1234", run_attempt: "1" },
    workflow_ref: "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main",
    job_workflow_ref: "octo-org/shared/.github/workflows/run.yml@refs/heads/main",
  },
  selectors: [
    ...["github-actions:repository-id=74", "github-actions:environment=prod"],
    "github-actions:ref-protected=true",
  ],
  path: ["ci/{github-actions.repository-id}", "ci/74"],
  wrong: [
    ["of an owner with the same name and another id", { repository_owner_id: "666" }, "owner_not_listed"],
    ["of owners in a list with a listed one", { repository_owner_id: ["9919"] }, "ids_missing"],
    ["of a repository that took the name", { repository_id: "75" }, "no_agent_matches"],
    ["of a pull request, which has no environment", { environment: undefined }, "no_agent_matches"],
    ["of a branch that anybody may push to", { ref_protected: "false" }, "no_agent_matches"],
    ["of an environment with a line end", { environment: "prod\n" }, "no_agent_matches"],
    ["without an id that could be used once", { jti: undefined }, "token_id_missing"],
    [
      "of an enterprise's own issuer",
      { iss: "https://token.actions.githubusercontent.com/octo-inc" },
      "token_issuer_wrong",
    ],
  ],
  isSingleUse: true,
};

const gitlab: TokenStory = {
  issuer: "https://gitlab.com",
  spec: { kind: "gitlab", namespaceIds: ["72"] },
  claims: {
    ...{ sub: "project_path:corp/agents:ref_type:branch:ref:main", namespace_path: "corp" },
    ...{ namespace_id: "72", project_id: "20", project_path: "corp/agents", user_id: "302" },
    ...{ ref: "main", ref_type: "branch", ref_protected: "true", pipeline_source: "push" },
    runner_environment: "gitlab-hosted",
  },
  selectors: ["gitlab:project-id=20", "gitlab:ref-protected=true"],
  path: ["gitlab/{gitlab.project-id}", "gitlab/20"],
  wrong: [
    ["of a group that took the name", { namespace_id: "73" }, "namespace_not_listed"],
    ["of another project of the group", { project_id: "21" }, "no_agent_matches"],
    ["of a branch that anybody may push to", { ref_protected: "false" }, "no_agent_matches"],
    ["without a project", { project_id: undefined }, "ids_missing"],
    ["of a GitLab of one's own", { iss: "https://gitlab.evil.example" }, "token_issuer_wrong"],
  ],
  isSingleUse: false,
};

const terraformCloud: TokenStory = {
  issuer: "https://app.terraform.io",
  spec: { kind: "terraform-cloud", organizationIds: ["org-GRNbCjYNpBB6NEBV"] },
  claims: {
    sub: "organization:corp:project:agents:workspace:prod:run_phase:plan",
    terraform_organization_id: "org-GRNbCjYNpBB6NEBV",
    terraform_project_id: "prj-1",
    terraform_workspace_id: "ws-1",
    terraform_run_phase: "plan",
  },
  selectors: ["terraform-cloud:workspace-id=ws-1", "terraform-cloud:run-phase=plan"],
  path: ["tfc/{terraform-cloud.workspace-id}", "tfc/ws-1"],
  wrong: [
    [
      "of an organization that took the name",
      { terraform_organization_id: "org-evil" },
      "organization_not_listed",
    ],
    ["of another workspace", { terraform_workspace_id: "ws-2" }, "no_agent_matches"],
    ["of the other phase", { terraform_run_phase: "apply" }, "no_agent_matches"],
    ["without a workspace", { terraform_workspace_id: undefined }, "ids_missing"],
    ["made for AWS", { aud: "aws.workload.identity" }, "token_audience_wrong"],
  ],
  isSingleUse: false,
};

const GOOGLE = "https://accounts.google.com";
const MACHINE = {
  ...{ instance_id: "152986662232938449", instance_name: "agent-1", project_id: "my-project" },
  ...{ project_number: 739_419_398_126, zone: "us-west1-a", instance_creation_timestamp: 1_556_213_216 },
};
const machine = (change: object) => ({ google: { compute_engine: { ...MACHINE, ...change } } });
const ACCOUNT = "113774264463038321964";

const gcp: TokenStory = {
  issuer: GOOGLE,
  spec: { kind: "gcp", projectIds: ["my-project"] },
  claims: { sub: ACCOUNT, azp: ACCOUNT, ...machine({}) },
  selectors: ["gcp:project-id=my-project", "gcp:zone=us-west1-a"],
  path: ["gcp/{gcp.instance-id}", "gcp/152986662232938449"],
  wrong: [
    ["of a machine of another project", machine({ project_id: "evil" }), "project_not_listed"],
    ["of a machine in a list of projects", machine({ project_id: ["my-project"] }), "machine_missing"],
    ["of a service account without a machine", { google: undefined }, "machine_missing"],
    ["of the issuer's old name", { iss: "accounts.google.com" }, "token_issuer_wrong"],
    // CVE-2020-16251: the keys of a service account are published by Google, and used by whoever has the account.
    [
      "that a service account has signed",
      { iss: "agent@evil.iam.gserviceaccount.com" },
      "token_issuer_wrong",
    ],
  ],
  isSingleUse: false,
};

const gcpAccount: TokenStory = {
  issuer: GOOGLE,
  spec: { kind: "gcp", serviceAccountIds: [ACCOUNT] },
  claims: {
    sub: ACCOUNT,
    azp: ACCOUNT,
    email: "agent@my-project.iam.gserviceaccount.com",
    email_verified: true,
  },
  selectors: ["gcp:service-account=agent@my-project.iam.gserviceaccount.com"],
  path: ["gcp-accounts/{gcp.service-account-id}", `gcp-accounts/${ACCOUNT}`],
  wrong: [
    ["of an account that took the address", { sub: "999" }, "service_account_not_listed"],
    ["of an address that is not verified", { email_verified: false }, "no_agent_matches"],
    ["of nobody", { sub: undefined }, "ids_missing"],
  ],
  isSingleUse: false,
};

const MANAGED = `/subscriptions/${TENANT}/resourcegroups/Agents/providers/Microsoft.ManagedIdentity/userAssignedIdentities/support`;
const azureClaims = {
  ...{ tid: TENANT, oid: OBJECT, sub: OBJECT, idtyp: "app", xms_mirid: MANAGED },
};
const azureWrong: TokenStory["wrong"] = [
  ["that names another tenant", { tid: OTHER_TENANT }, "tenant_wrong"],
  ["of another tenant's issuer", { iss: `https://sts.windows.net/${OTHER_TENANT}/` }, "token_issuer_wrong"],
  ["of the issuer of all tenants", { iss: "https://sts.windows.net/common/" }, "token_issuer_wrong"],
  ["made for Azure's own management", { aud: "https://management.azure.com/" }, "token_audience_wrong"],
  ["of a user, through an application", { scp: "user_impersonation" }, "token_of_a_user"],
  ["of a user who is called otherwise there", { sub: "AAAAAGxK0n2" }, "token_of_a_user"],
  ["of nobody", { oid: undefined, sub: undefined }, "ids_missing"],
  ["of another identity", { oid: OTHER_OBJECT, sub: OTHER_OBJECT }, "no_agent_matches"],
];

const azure: TokenStory = {
  issuer: `https://sts.windows.net/${TENANT}/`,
  names: ["login.microsoftonline.com"],
  spec: { kind: "azure", tenantId: TENANT },
  claims: { ...azureClaims, appid: "aaaaaaaa-0000-0000-0000-000000000001", ver: "1.0" },
  selectors: [`azure:object-id=${azureClaims.oid}`, "azure:resource-group=agents"],
  path: ["azure/{azure.object-id}", `azure/${azureClaims.oid}`],
  wrong: [
    ...azureWrong,
    [
      "of the other version of tokens",
      { iss: `https://login.microsoftonline.com/${TENANT}/v2.0`, ver: "2.0" },
      "token_issuer_wrong",
    ],
  ],
  isSingleUse: false,
};

const azure2: TokenStory = {
  issuer: `https://login.microsoftonline.com/${TENANT}/v2.0`,
  spec: { kind: "azure", tenantId: TENANT, tokenVersion: 2 },
  claims: { ...azureClaims, azp: "aaaaaaaa-0000-0000-0000-000000000001", ver: "2.0" },
  selectors: [`azure:object-id=${azureClaims.oid}`],
  path: ["azure2/{azure.object-id}", `azure2/${azureClaims.oid}`],
  wrong: [
    ...azureWrong,
    [
      "of the issuer of all organizations",
      { iss: "https://login.microsoftonline.com/common/v2.0" },
      "token_issuer_wrong",
    ],
  ],
  isSingleUse: false,
};

const REALM = "https://login.corp.example/realms/prod";
const oidc: TokenStory = {
  issuer: REALM,
  spec: {
    ...{ kind: "oidc", issuer: REALM, mapping: { team: "groups" }, singleUse: true },
    conditions: [{ claim: "environment", oneOf: ["production"] }],
  },
  claims: { sub: "svc-7", groups: ["support", "all"], environment: "production" },
  selectors: ["oidc:team=support"],
  path: ["people/{oidc.subject}", "people/svc-7"],
  wrong: [
    ["that meets no condition", { environment: "staging" }, "condition_not_met"],
    ["of another team", { groups: ["sales"] }, "no_agent_matches"],
    ["of a team with a line end", { groups: ["support\n"] }, "no_agent_matches"],
    ["of nobody", { sub: undefined }, "subject_missing"],
    ["without an id that could be used once", { jti: undefined }, "token_id_missing"],
    ["of a realm beside it", { iss: "https://login.corp.example/realms/prod2" }, "token_issuer_wrong"],
  ],
  isSingleUse: true,
};

const ACCOUNT_ISSUER = "https://a103a2cc-b461-473d-84fe-6c4f6d45af88.tokens.sts.global.api.aws";
const LAMBDA = "arn:aws:lambda:eu-west-1:123456789012:function:support";
const aws = (change: object) => ({
  "https://sts.amazonaws.com/": {
    ...{ aws_account: "123456789012", lambda_source_function_arn: LAMBDA, source_region: "eu-west-1" },
    ...change,
  },
});
const awsToken: TokenStory = {
  issuer: ACCOUNT_ISSUER,
  spec: { kind: "aws-iam", accountIds: ["123456789012"], issuer: ACCOUNT_ISSUER },
  claims: { sub: "arn:aws:iam::123456789012:role/agents/support", ...aws({}) },
  selectors: [`aws-iam:lambda-function=${LAMBDA}`, "aws-iam:role=support"],
  path: ["lambda/{aws-iam.account-id}", "lambda/123456789012"],
  wrong: [
    [
      "of another account",
      { sub: "arn:aws:iam::210987654321:role/agents/support", ...aws({ aws_account: "210987654321" }) },
      "account_not_listed",
    ],
    [
      "whose role is of another account",
      { sub: "arn:aws:iam::210987654321:role/agents/support" },
      "account_inconsistent",
    ],
    ["of the root of the account", { sub: "arn:aws:iam::123456789012:root" }, "principal_refused"],
    [
      "that has the function in a tag that its caller chose",
      aws({ lambda_source_function_arn: undefined, request_tags: { lambda_source_function_arn: LAMBDA } }),
      "no_agent_matches",
    ],
    ["of another account's issuer", { iss: "https://b.tokens.sts.global.api.aws" }, "token_issuer_wrong"],
    ["without an id that could be used once", { jti: undefined }, "token_id_missing"],
  ],
  isSingleUse: true,
};

export const TOKEN_STORIES: Readonly<Record<string, (authority: TestAuthority) => Promise<Story>>> = {
  "github-actions": (authority) => tokenStory(authority, githubActions),
  gitlab: (authority) => tokenStory(authority, gitlab),
  "terraform-cloud": (authority) => tokenStory(authority, terraformCloud),
  gcp: (authority) => tokenStory(authority, gcp),
  "gcp, service account": (authority) => tokenStory(authority, gcpAccount),
  azure: (authority) => tokenStory(authority, azure),
  "azure, version 2": (authority) => tokenStory(authority, azure2),
  oidc: (authority) => tokenStory(authority, oidc),
  "aws-iam, token": (authority) => tokenStory(authority, awsToken),
};
