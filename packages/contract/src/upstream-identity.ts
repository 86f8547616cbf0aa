// SPDX-License-Identifier: Apache-2.0
/** Who are gateway and API to each other, where both have SPIFFE identities? */
import { z } from "zod";

export const upstreamIdentity = {
  /** `svid`: the gateway shows its own X.509-SVID where the API asks for a certificate. */
  clientIdentity: z.literal("svid").optional(),
  /** What the API's certificate must prove, by the trust bundle of that trust domain; its host name counts no more then. */
  serverSpiffeId: z.string().min(1).max(2048).optional(),
};
