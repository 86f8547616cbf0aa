// SPDX-License-Identifier: Apache-2.0
/** Which code checks the evidence of a TrustProvider resource? */
import type { TrustProviderSpec } from "@postern/contract";
import type { Clock } from "../kernel/clock.ts";
import { refuse } from "../kernel/result.ts";
import type { JoinTokenStore } from "../store/join-token-store.ts";
import { awsEc2 } from "./aws-ec2/aws-ec2.ts";
import { awsIam } from "./aws-iam/aws-iam.ts";
import { azure } from "./azure/azure.ts";
import { gcp } from "./gcp/gcp.ts";
import { githubActions } from "./github-actions/github-actions.ts";
import { gitlab } from "./gitlab/gitlab.ts";
import { joinToken } from "./join-token/join-token.ts";
import { kubernetes } from "./kubernetes/kubernetes.ts";
import { oidc } from "./oidc/oidc.ts";
import { withImageSignatures } from "./sigstore/with-image-signatures.ts";
import { type FederatedBundle, spiffe } from "./spiffe/spiffe.ts";
import { terraformCloud } from "./terraform-cloud/terraform-cloud.ts";
import { providerOfKind } from "./token/token-kind.ts";
import type { TrustProvider } from "./trust-provider.ts";

export interface ProviderParts {
  readonly clock: Clock;
  readonly joinTokens: Pick<JoinTokenStore, "redeem">;
  /** Absent where this server federates with nobody. */
  readonly federatedBundle?: FederatedBundle;
}

/** Undefined for local processes: their evidence is the connection, and nobody can present it. */
export function makeTrustProvider(spec: TrustProviderSpec, parts: ProviderParts): TrustProvider | undefined {
  const { clock, joinTokens } = parts;
  switch (spec.kind) {
    case "process":
    case "docker":
    case "podman":
      return undefined;
    case "join-token":
      return joinToken(joinTokens);
    case "spiffe":
      return spiffe(spec, clock, parts.federatedBundle ?? (() => refuse("trust_domain_not_federated")));
    case "kubernetes":
      return withImageSignatures(providerOfKind(kubernetes(spec), spec, clock), spec.sigstore, clock);
    case "github-actions":
      return providerOfKind(githubActions(spec), spec, clock);
    case "gitlab":
      return providerOfKind(gitlab(spec), spec, clock);
    case "terraform-cloud":
      return providerOfKind(terraformCloud(spec), spec, clock);
    case "aws-iam":
      return awsIam(spec, clock);
    case "aws-ec2":
      return awsEc2(spec);
    case "gcp":
      return providerOfKind(gcp(spec), spec, clock);
    case "azure":
      return providerOfKind(azure(spec), spec, clock);
    case "oidc":
      return providerOfKind(oidc(spec), spec, clock);
  }
}
