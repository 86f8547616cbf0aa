// SPDX-License-Identifier: Apache-2.0
/**
 * GitLab CI/CD: a job's `id_tokens`, of gitlab.com or of a GitLab of one's own.
 *
 * gitlab.com signs for every project there is, so the namespaces are named in the settings, by their ids: paths are
 * given away again. `sub` is no fact: it is made of paths, and of what the project chooses.
 */
import type { ResourceOf } from "@postern/contract";
import { claimText } from "../token/read-claims.ts";
import { type FactTable, factsOf } from "../token/facts-of.ts";
import type { TokenKind } from "../token/token-kind.ts";

type Spec = Extract<ResourceOf<"TrustProvider">["spec"], { kind: "gitlab" }>;

const FACTS: FactTable<"gitlab"> = {
  "project-id": "project_id",
  "namespace-id": "namespace_id",
  "user-id": "user_id",
  "project-visibility": "project_visibility",
  environment: "environment",
  "environment-protected": "environment_protected",
  "deployment-tier": "deployment_tier",
  ref: "ref",
  "ref-type": "ref_type",
  "ref-protected": "ref_protected",
  "pipeline-source": "pipeline_source",
  sha: "sha",
  "ci-config-ref-uri": "ci_config_ref_uri",
  "ci-config-sha": "ci_config_sha",
  "runner-id": "runner_id",
  "runner-environment": "runner_environment",
};

export const gitlab = ({ issuer, namespaceIds }: Spec): TokenKind => ({
  issuer,
  algorithms: ["RS256"],
  // A token lives as long as its job may run.
  longestLife: 86_400,
  singleUse: false,
  demand: (claims) => {
    const namespace = claimText(claims, "namespace_id");
    if (namespace === undefined || claimText(claims, "project_id") === undefined) return "ids_missing";
    return namespaceIds.includes(namespace) ? undefined : "namespace_not_listed";
  },
  facts: (claims) => factsOf(claims, FACTS),
});
