// SPDX-License-Identifier: Apache-2.0
/**
 * What Postern knows of a kind of API: hosts, operations, where the model name is, how the credential is
 * placed and how usage is reported. A profile is one YAML file in this folder and nothing else.
 */
import { readdirSync, readFileSync } from "node:fs";
import { injectionSchema } from "@postern/contract";
import { parse } from "yaml";
import { z } from "zod";
import { Fault } from "../kernel/fault.ts";

const pointer = z.string().regex(/^(\/[^/]+)+$/);

const operationSchema = z.strictObject({
  name: z.string(),
  method: z.string(),
  path: z.string().startsWith("/"),
  /** Where the model's name stands: a top-level field of the JSON body, a part of the path, or a parameter of the query. */
  model: z
    .union([
      z.strictObject({ body: z.string() }),
      z.strictObject({ path: z.string() }),
      z.strictObject({ query: z.string() }),
    ])
    .optional(),
});

/** An injection of the contract, and when it applies. */
const conditionalInjection = z
  .looseObject({
    whenSecretStartsWith: z.string().optional(),
    whenPathStartsWith: z.string().optional(),
    /** Header tokens added to a comma-separated list. */
    append: z.record(z.string(), z.string()).default({}),
  })
  .transform(({ whenSecretStartsWith, whenPathStartsWith, append, ...rest }, context) => {
    const injection = injectionSchema.safeParse(rest);
    if (injection.success)
      return { whenSecretStartsWith, whenPathStartsWith, append, injection: injection.data };
    context.addIssue({ code: "custom", message: z.prettifyError(injection.error) });
    return z.NEVER;
  });

/** How the most that a request can use is read from it; fields at the top of its JSON body, or one level below. */
const field = z.string().regex(/^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?$/);

const operationMeteringSchema = z.strictObject({
  /** Limits of output tokens, for one answer: the largest that is there counts. Absent where there is no output. */
  maxOutput: z.array(field).optional(),
  /** How many answers are made; the largest that is there counts. */
  times: z.array(field).default([]),
  /** Bring in text that is not in the body. */
  outside: z.array(field).default([]),
});

const meteringSchema = z.strictObject({
  /** Whether `inputTokens` counts the cached ones as well. */
  inputIncludesCache: z.boolean(),
  /** Whether `outputTokens` counts thoughts as well. */
  outputIncludesThoughts: z.boolean(),
  /** Tokens that the provider adds to what is in the body. */
  addedInput: z.int().min(0).default(0),
  /** Keys, at any depth, of what may count for more tokens than it has bytes: images, files, tools that bring in text. */
  opaque: z.array(z.string()).default([]),
  /** Where events of streams carry output; `*` stands for every index. */
  text: z.array(pointer),
  operations: z.record(z.string(), operationMeteringSchema),
  /** Operations that use no tokens. */
  free: z.array(z.string()),
});
export type ProfileMetering = z.infer<typeof meteringSchema>;
export type OperationMetering = z.infer<typeof operationMeteringSchema>;

const profileSchema = z.strictObject({
  name: z.string(),
  hosts: z.array(z.string()),
  /** The first whose condition holds is used. */
  injections: z.array(conditionalInjection),
  /** What can carry authentication besides what is always stripped. */
  carriers: z.strictObject({ headers: z.array(z.string()), query: z.array(z.string()) }),
  placeholder: z.string().includes("{marker}"),
  /** Variables for the agent; `{placeholder}` and `{baseUrl}` are filled in. */
  environment: z.record(z.string(), z.string()),
  /** Variables known to hold a secret of this provider. */
  secretVariables: z.array(z.string()),
  aliases: z.array(z.strictObject({ from: z.string(), to: z.string() })).default([]),
  operations: z.array(operationSchema),
  /** Counter → JSON pointers where it may stand, in a JSON answer or in each event of a stream. */
  usage: z.record(z.string(), z.array(pointer)),
  /** Absent where nothing is known of tokens. */
  metering: meteringSchema.optional(),
});

export type Profile = z.infer<typeof profileSchema>;
export type ProfileOperation = Profile["operations"][number];
export type ProfileInjection = Profile["injections"][number];

/** Reads all profiles of a folder, by default this one. */
export function loadProfiles(folder: URL = new URL(".", import.meta.url)): ReadonlyMap<string, Profile> {
  const profiles = new Map<string, Profile>();
  for (const file of readdirSync(folder)
    .filter((name) => name.endsWith(".yaml"))
    .sort()) {
    const parsed = profileSchema.safeParse(parse(readFileSync(new URL(file, folder), "utf8")));
    if (!parsed.success)
      throw new Fault("internal_error", `profile ${file}: ${z.prettifyError(parsed.error)}`);
    profiles.set(parsed.data.name, parsed.data);
  }
  return profiles;
}
