// SPDX-License-Identifier: Apache-2.0
/** How may something outside be reached? The same fields for server workloads and for those who vouch for evidence. */
import { z } from "zod";

export const reach = {
  /** Connect here instead of resolving the host; TLS still verifies the host's name. */
  connectTo: z
    .strictObject({ address: z.union([z.ipv4(), z.ipv6()]), port: z.int().min(1).max(65_535) })
    .optional(),
  /** Special-purpose networks (loopback, private …) that it may be in; none by default. */
  allowedNetworks: z
    .array(z.union([z.cidrv4(), z.cidrv6()]))
    .max(50)
    .optional(),
  /** PEM certificates trusted for it instead of the system's. */
  caCertificates: z.string().max(100_000).optional(),
};
