// SPDX-License-Identifier: Apache-2.0
/**
 * GitHub Actions: the token of a job's `id-token: write` permission.
 *
 * GitHub signs for every repository there is, so the owners are named in the settings, by their ids: names are given
 * away again when somebody leaves. `sub` is no fact: its format differs by repository and has changed.
 */
import type { ResourceOf } from "@postern/contract";
import { claimText } from "../token/read-claims.ts";
import { type FactTable, factsOf } from "../token/facts-of.ts";
import type { TokenKind } from "../token/token-kind.ts";

type Spec = Extract<ResourceOf<"TrustProvider">["spec"], { kind: "github-actions" }>;

const FACTS: FactTable<"github-actions"> = {
  "repository-id": "repository_id",
  "owner-id": "repository_owner_id",
  "actor-id": "actor_id",
  "repository-visibility": "repository_visibility",
  environment: "environment",
  ref: "ref",
  "ref-type": "ref_type",
  "ref-protected": "ref_protected",
  event: "event_name",
  sha: "sha",
  "workflow-ref": "workflow_ref",
  "workflow-sha": "workflow_sha",
  "job-workflow-ref": "job_workflow_ref",
  "job-workflow-sha": "job_workflow_sha",
  "runner-environment": "runner_environment",
};

export const githubActions = ({ issuer, ownerIds }: Spec): TokenKind => ({
  issuer,
  algorithms: ["RS256"],
  longestLife: 3600,
  singleUse: true,
  demand: (claims) => {
    const owner = claimText(claims, "repository_owner_id");
    if (owner === undefined || claimText(claims, "repository_id") === undefined) return "ids_missing";
    return ownerIds.includes(owner) ? undefined : "owner_not_listed";
  },
  facts: (claims) => factsOf(claims, FACTS),
});
