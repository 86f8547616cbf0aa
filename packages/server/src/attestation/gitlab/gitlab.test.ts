// SPDX-License-Identifier: Apache-2.0
import { afterAll, describe, expect, test } from "vitest";
import { issuerUnderTest } from "../token/attest-token.fixture.ts";

const { attest, issuer } = await issuerUnderTest(
  { kind: "gitlab", issuer: "https://gitlab.com", audience: "postern", namespaceIds: ["72"] },
  "https://gitlab.com",
);
afterAll(() => issuer.close());

/** As GitLab documents it. */
const claims = {
  namespace_id: "72",
  namespace_path: "my-group",
  project_id: "20",
  project_path: "my-group/my-project",
  user_id: "1",
  user_login: "sample-user",
  user_email: "sample-user@example.com",
  pipeline_id: "574",
  pipeline_source: "push",
  job_id: "302",
  ref: "feature-branch-1",
  ref_type: "branch",
  ref_path: "refs/heads/feature-branch-1",
  ref_protected: "false",
  environment: "test-environment2",
  environment_protected: "false",
  deployment_tier: "testing",
  runner_id: 1,
  runner_environment: "self-hosted",
  sha: "714a629c0b401fdce83e847fc9589983fc6f46bc",
  project_visibility: "public",
  ci_config_ref_uri: "gitlab.example.com/my-group/my-project//.gitlab-ci.yml@refs/heads/main",
  ci_config_sha: "714a629c0b401fdce83e847fc9589983fc6f46bc",
  sub: "project_path:my-group/my-project:ref_type:branch:ref:feature-branch-1",
  aud: "postern",
};

describe("a token of GitLab", () => {
  test.each<[string, object, string]>([
    ["of another namespace", { namespace_id: "73" }, "namespace_not_listed"],
    [
      "of a namespace that took the path",
      { namespace_id: "99", namespace_path: "my-group" },
      "namespace_not_listed",
    ],
    ["without namespace", { namespace_id: undefined }, "ids_missing"],
    ["without project", { project_id: undefined }, "ids_missing"],
    ["of another GitLab", { iss: "https://gitlab.example.com" }, "token_issuer_wrong"],
    ["for Vault", { aud: "https://vault.example.com" }, "token_audience_wrong"],
  ])("%s is refused", async (_, change, reason) => {
    expect(await attest(issuer.sign({ ...claims, ...change }))).toBe(reason);
  });

  test("proves ids, numbers or texts alike, and neither paths of projects nor names of users", async () => {
    const selectors = await attest(issuer.sign(claims));
    expect(selectors).toEqual(
      expect.arrayContaining([
        "gitlab:project-id=20",
        "gitlab:namespace-id=72",
        "gitlab:runner-id=1",
        "gitlab:ref-protected=false",
      ]),
    );
    expect(String(selectors)).not.toMatch(/sample-user|project_path/);
    expect(await attest(issuer.sign({ ...claims, namespace_id: 72 }))).toContain("gitlab:namespace-id=72");
  });
});
