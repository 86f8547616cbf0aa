// SPDX-License-Identifier: Apache-2.0
/** Makes a join token for an operator: written down first, by what it proves and never by itself. */
import type { JoinTokenRequest, JoinTokenResponse } from "@postern/contract";
import { joinTokenDigest, newJoinToken } from "../attestation/join-token/join-token.ts";
import { resourceChangeEvent } from "../audit/change-events.ts";
import { newId } from "../kernel/ids.ts";
import { type Result, ok, refuse } from "../kernel/result.ts";
import type { AttestParts } from "./attest-desk.ts";

export async function makeJoinToken(
  { audit, clock, joinTokens, state }: Omit<AttestParts, "evidence" | "isStale">,
  { name, provider }: JoinTokenRequest,
  operator: { uid: number },
): Promise<Result<JoinTokenResponse, string>> {
  const resource = state().resources.get("TrustProvider", provider);
  if (resource?.spec.kind !== "join-token")
    return refuse(`there is no TrustProvider \`${provider}\` of kind join-token; apply one first`);
  const time = clock.now();
  const expiresAt = time + resource.spec.maxTokenLifetime * 1000;
  const entity = { resourceKind: "JoinToken", name: `${provider}/${name}` };
  await audit(
    resourceChangeEvent({ id: newId(time), time, change: "create", ...entity, operatorUid: operator.uid }),
  );
  const token = newJoinToken();
  await joinTokens.add({ digest: joinTokenDigest(token), provider, name, expiresAt });
  return ok({ token, expiresAt: new Date(expiresAt).toISOString() });
}
