// SPDX-License-Identifier: Apache-2.0
/** The shape of a request to check evidence: the same from an operator and from a stranger. */
import { z } from "zod";

const wantedIdentity = z.strictObject({
  x509: z.strictObject({ request: z.base64().max(24_000).optional() }).optional(),
  jwt: z.strictObject({ audience: z.array(z.string().min(1).max(1024)).max(16) }).optional(),
});

export const attestRequestSchema = z.strictObject({
  provider: z.string().max(100),
  evidence: z.base64().max(100_000),
  explain: z.boolean().default(false),
  want: wantedIdentity.optional(),
});
