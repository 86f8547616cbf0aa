// SPDX-License-Identifier: Apache-2.0
/** Stage 8: the credential for exactly this `Allow`, once it is released, or a refusal. */
import { type Result, ok, refuse } from "../../kernel/result.ts";
import type { Credential, CredentialSource } from "../ports.ts";
import type { Released } from "./5a-await-approval.ts";
import { type Refusal, refusal } from "./refusal.ts";

export async function obtainCredential(
  source: CredentialSource,
  { allow }: Released,
): Promise<Result<Credential, Refusal>> {
  try {
    const credential = await source.obtain(allow);
    if (credential.ok) return ok(credential.value);
    return refuse(refusal("credential_unavailable", credential.reason));
  } catch {
    // Whatever a backend throws may quote what it was asked for: it is not repeated.
    return refuse(
      refusal("credential_unavailable", `credential provider ${allow.credentialProvider} failed`),
    );
  }
}
