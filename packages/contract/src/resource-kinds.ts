// SPDX-License-Identifier: Apache-2.0
import type { ResourceKind } from "./resources.ts";

/** In the order in which they refer to each other. Apart from the schemas, so that the command line starts fast. */
export const RESOURCE_KINDS = [
  "FederatedTrustDomain",
  "TrustProvider",
  "Agent",
  "ServerWorkload",
  "CredentialProvider",
  "AccessCondition",
  "Approver",
  "AccessPolicy",
  "Budget",
  "PriceList",
  "PostureSource",
] as const satisfies readonly ResourceKind[];
