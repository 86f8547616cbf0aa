// SPDX-License-Identifier: Apache-2.0
/** Does a body have the shape that its route takes? */
import type { z } from "zod";
import { prettifyError } from "zod";
import { ApiRefusal } from "./router.ts";

export function checked<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ApiRefusal("request_malformed", prettifyError(parsed.error).replaceAll("\n", " "));
}
