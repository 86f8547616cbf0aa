// SPDX-License-Identifier: Apache-2.0
import { z } from "zod";

/** Lower-case DNS label: resource names stand in paths, Cedar ids and file names. */
export const resourceName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "use lower-case letters, digits and inner hyphens, 1 to 63");
