// SPDX-License-Identifier: Apache-2.0
/**
 * AWS IAM: which role or user is it? By a token that AWS signs, or by a request to STS that the workload signed and we
 * send. Both work for Lambda functions, ECS tasks, and instances with a role.
 */
import type { ResourceOf } from "@postern/contract";
import type { Clock } from "../../kernel/clock.ts";
import { refuse } from "../../kernel/result.ts";
import { providerOfKind } from "../token/token-kind.ts";
import type { TrustProvider } from "../trust-provider.ts";
import { callerIdentity } from "./caller-identity.ts";
import { webIdentity } from "./web-identity.ts";

type Spec = Extract<ResourceOf<"TrustProvider">["spec"], { kind: "aws-iam" }>;

export function awsIam(spec: Spec, clock: Clock): TrustProvider {
  const { accountIds, issuer, regions } = spec;
  const byToken =
    issuer === undefined ? undefined : providerOfKind(webIdentity(issuer, accountIds), spec, clock);
  const byRequest = regions === undefined ? undefined : callerIdentity({ ...spec, regions });
  return {
    attest(evidence, context) {
      const isRequest = evidence.bytes.subarray(0, 8).equals(REQUEST_START);
      const provider = isRequest ? byRequest : byToken;
      // What the operator has not set up is not tried in another way.
      return (
        provider?.attest(evidence, context) ??
        Promise.resolve(refuse({ outcome: "refused", reason: "evidence_of_another_form" } as const))
      );
    },
  };
}

const REQUEST_START = Buffer.from("https://");
