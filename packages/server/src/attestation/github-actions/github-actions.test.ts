// SPDX-License-Identifier: Apache-2.0
import { afterAll, describe, expect, test } from "vitest";
import { issuerUnderTest } from "../token/attest-token.fixture.ts";

const ISSUER = "https://token.actions.githubusercontent.com";
const { attest, issuer } = await issuerUnderTest(
  { kind: "github-actions", issuer: ISSUER, audience: "https://postern.example", ownerIds: ["65", "9919"] },
  ISSUER,
);
afterAll(() => issuer.close());

/** As GitHub documents it, with ids for sub. */
const claims = {
  sub: "repo:octo-org@65/octo-repo@74:environment:prod",
  environment: "prod",
  aud: "https://postern.example",
  ref: "refs/heads/main",
  sha: "2b1e0c7f4dd0f4fcd9d6a1e2f3c4b5a697887766",
  repository: "octo-org/octo-repo",
  repository_owner: "octo-org",
  actor_id: "12",
  repository_visibility: "private",
  repository_id: "74",
  repository_owner_id: "65",
  run_id: "1234",
  run_number: "10",
  run_attempt: "2",
  runner_environment: "github-hosted",
  actor: "octocat",
  workflow: "deploy",
  head_ref: "",
  base_ref: "",
  event_name: "workflow_dispatch",
  ref_type: "branch",
  ref_protected: "true",
  workflow_ref: "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main",
  workflow_sha: "2b1e0c7f4dd0f4fcd9d6a1e2f3c4b5a697887766",
  job_workflow_ref: "octo-org/shared/.github/workflows/run.yml@refs/heads/main",
  job_workflow_sha: "aaaa",
};

describe("a token of GitHub Actions", () => {
  test.each<[string, object, string]>([
    ["of another owner", { repository_owner_id: "66" }, "owner_not_listed"],
    [
      "of an owner that took a listed owner's name",
      { repository_owner_id: "7", repository_owner: "octo-org" },
      "owner_not_listed",
    ],
    ["whose owner id is a list with a listed one", { repository_owner_id: ["65"] }, "ids_missing"],
    ["without owner id", { repository_owner_id: undefined }, "ids_missing"],
    ["without repository id", { repository_id: undefined }, "ids_missing"],
    ["without jti, which could be used twice", { jti: undefined }, "token_id_missing"],
    [
      "with the audience that every job gets by default",
      { aud: "https://github.com/octo-org" },
      "token_audience_wrong",
    ],
    [
      "for somebody else too",
      { aud: ["https://postern.example", "sts.amazonaws.com"] },
      "token_audience_wrong",
    ],
    ["of an enterprise's own issuer", { iss: `${ISSUER}/octo-inc` }, "token_issuer_wrong"],
  ])("%s is refused", async (_, change, reason) => {
    expect(await attest(issuer.sign({ ...claims, ...change }))).toBe(reason);
  });

  test("counts once", async () => {
    const token = issuer.sign(claims);
    expect(await attest(token)).toBeInstanceOf(Array);
    expect(await attest(token)).toBe("evidence_used_before");
    expect(await attest(`${token}\n`)).toBe("evidence_used_before");
  });

  test("that names itself by another token's jti is refused, too", async () => {
    const token = issuer.sign({ ...claims, jti: "one" });
    await attest(token);
    expect(await attest(issuer.sign({ ...claims, jti: "one", run_attempt: "3" }))).toBe(
      "evidence_used_before",
    );
  });

  test("proves ids and not names", async () => {
    const selectors = await attest(issuer.sign(claims));
    expect(selectors).toEqual([
      "github-actions:actor-id=12",
      "github-actions:environment=prod",
      "github-actions:event=workflow_dispatch",
      "github-actions:job-workflow-ref=octo-org/shared/.github/workflows/run.yml@refs/heads/main",
      "github-actions:job-workflow-sha=aaaa",
      "github-actions:owner-id=65",
      "github-actions:ref-protected=true",
      "github-actions:ref-type=branch",
      "github-actions:ref=refs/heads/main",
      "github-actions:repository-id=74",
      "github-actions:repository-visibility=private",
      "github-actions:runner-environment=github-hosted",
      "github-actions:sha=2b1e0c7f4dd0f4fcd9d6a1e2f3c4b5a697887766",
      "github-actions:workflow-ref=octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main",
      "github-actions:workflow-sha=2b1e0c7f4dd0f4fcd9d6a1e2f3c4b5a697887766",
    ]);
  });

  test("outside of an environment proves none", async () => {
    const selectors = await attest(issuer.sign({ ...claims, environment: undefined }));
    expect(selectors).toContain("github-actions:repository-id=74");
    expect(String(selectors)).not.toContain("environment=prod");
  });
});
