// SPDX-License-Identifier: Apache-2.0
/**
 * What may stand in `spec` of a FederatedTrustDomain: whose bundle is read from where, and who is believed there.
 *
 * SPIFFE Federation §5.1: name, URL and profile are all said; none is worked out from another.
 */
import { z } from "zod";
import { reach } from "./reach.ts";

export const federatedTrustDomainSpec = z
  .strictObject({
    /** Of somebody else. */
    trustDomain: z
      .string()
      .max(255)
      .regex(/^[a-z0-9._-]+$/, "use the name of a trust domain, such as partner.example"),
    /** Of its bundle endpoint. */
    endpointUrl: z
      .string()
      .max(500)
      .regex(
        /^https:\/\/[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9]\d{0,4})?(\/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*\/?$/,
        "use https://host/path with a lower-case host, without user, query or fragment",
      ),
    /** `https_web`: a certificate of the Web; `https_spiffe`: an X.509-SVID. */
    profile: z.enum(["https_web", "https_spiffe"]),
    /** `https_spiffe`: who must answer there. */
    endpointSpiffeId: z.string().max(2048).startsWith("spiffe://").optional(),
    /** The trust bundle as it is now, as text; serves until another one was read. */
    bundle: z.string().min(1).max(500_000).optional(),
    /** Seconds without a newer word after which the bundle is believed no longer. */
    maxAge: z.int().min(300).max(2_592_000).default(86_400),
    ...reach,
  })
  .refine((spec) => (spec.profile === "https_spiffe") === (spec.endpointSpiffeId !== undefined), {
    message: "profile https_spiffe needs `endpointSpiffeId`, and profile https_web has none",
    path: ["endpointSpiffeId"],
  });
