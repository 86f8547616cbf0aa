// SPDX-License-Identifier: Apache-2.0
/** Whose tokens are believed, by one answer of FetchJWTBundles? (Workload API §6.2.2) */
import { parseTrustBundle, type TrustBundle } from "@postern/identity/trust-bundle";
import { SpiffeError } from "./spiffe-error.ts";
import { readJwtBundlesResponse } from "./workload-messages.ts";
import { readEach } from "./x509-state.ts";

export type JwtState = ReadonlyMap<string, TrustBundle>;

export function readJwtState(message: Buffer, problem: (problem: SpiffeError) => void): JwtState {
  const bundles = readJwtBundlesResponse(message);
  if (bundles.size === 0) throw new SpiffeError("response_invalid", "an answer without any JWT bundle");
  return readEach(bundles, jwtBundle, problem);
}

function jwtBundle(trustDomain: string, document: Buffer): TrustBundle {
  const bundle = parseTrustBundle(trustDomain, document, "jwt-keys");
  if (!bundle.ok) throw new SpiffeError("response_invalid", bundle.reason);
  return bundle.value;
}
