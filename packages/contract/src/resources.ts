// SPDX-License-Identifier: Apache-2.0
/**
 * The one schema of everything an operator says: the same in YAML files, in the API and in the store.
 *
 * Shapes only. References between resources and unsafe combinations are checked by the server
 * (`packages/server/src/resources`), which knows what exists.
 */
import { z } from "zod";
import { accessConditionSpec } from "./access-conditions.ts";
import { approvalSpec, approverSpec } from "./approvals.ts";
import { budgetSpec } from "./budgets.ts";
import { federatedTrustDomainSpec } from "./federated-trust-domains.ts";
import { postureSourceSpec } from "./posture-sources.ts";
import { priceListSpec } from "./price-lists.ts";
import { reach } from "./reach.ts";
import { resourceName as name } from "./resource-name.ts";
import { trustProviderSpec } from "./trust-providers.ts";
import { upstreamIdentity } from "./upstream-identity.ts";

const metadata = z.strictObject({
  name,
  /** Free text for people. */
  description: z.string().max(500).optional(),
});

/** A shape that no reader takes for an address; the server says more exactly what is wrong with others. */
const hostname = z
  .string()
  .regex(
    /^(?=.{1,253}$)(?!(.*\.)?([0-9]+|0x[0-9a-f]*)$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/,
    "use an exact lower-case host name (ASCII, no port, no wildcard, no trailing dot)",
  );

const headerName = z
  .string()
  .max(100)
  .regex(/^[a-z0-9!#$%&'*+.^_`|~-]+$/, "use a lower-case header name");

/** A value in which `{secret}` stands exactly once. */
const secretTemplate = z
  .string()
  .max(500)
  .refine((text) => text.split("{secret}").length === 2, "must contain {secret} exactly once")
  .refine((text) => /^[\x20-\x7e]*$/.test(text), "must be printable ASCII");

/** The plan for placing a credential in a request. Exactly one carrier is ever set. */
export const injectionSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("bearer") }),
  z.strictObject({ kind: z.literal("header"), name: headerName, value: secretTemplate.default("{secret}") }),
  z.strictObject({ kind: z.literal("basic"), username: z.string().max(200).default("") }),
  z.strictObject({ kind: z.literal("query"), name: z.string().regex(/^[A-Za-z0-9_.-]{1,100}$/) }),
  z.strictObject({
    kind: z.literal("path"),
    /** What the agent writes in the path where the secret belongs; a whole run of unreserved characters. */
    placeholder: z.string().regex(/^[A-Za-z0-9_.~-]{8,100}$/),
  }),
]);
export type Injection = z.infer<typeof injectionSchema>;

const trustProvider = z.strictObject({
  kind: z.literal("TrustProvider"),
  metadata,
  spec: trustProviderSpec,
});

const federatedTrustDomain = z.strictObject({
  kind: z.literal("FederatedTrustDomain"),
  metadata,
  spec: federatedTrustDomainSpec,
});

/** One verified fact, `kind:key=value`, such as `process:uid=1000`. Matched exactly. */
const selector = z
  .string()
  .max(4200)
  .regex(/^[a-z0-9-]+:[a-z0-9-]+=.+$/, "write kind:key=value, such as process:uid=1000");

const agent = z.strictObject({
  kind: z.literal("Agent"),
  metadata,
  spec: z.strictObject({
    trustProvider: name,
    /** All of them must hold. Empty is refused: emptiness never means anybody. */
    selectors: z.array(selector).min(1).max(50),
    /** `spiffe://trust-domain/path`; `{kind.key}` stands for the value of the selector `kind:key=value`. */
    spiffeId: z.string().min(1).max(2048).optional(),
    /** Names of FederatedTrustDomains whose bundles it is handed, besides that of its own trust domain. */
    federatesWith: z.array(name).min(1).max(50).optional(),
    owner: z.string().max(200).optional(),
    purpose: z.string().max(500).optional(),
    /** After this instant the agent is refused. */
    expiresAt: z.iso.datetime({ offset: true }).optional(),
  }),
});

const httpMethod = z.string().regex(/^[A-Z]{1,20}$/, "use an upper-case method name");

/** A canonical path: absolute, no dot segments, no query; `{model}`-like names match one segment part. */
const pathTemplate = z
  .string()
  .max(500)
  .regex(/^\/[A-Za-z0-9\-._~!$&'()*+,;=:@/{}%]*$/, "use an absolute path");

const operation = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-zA-Z0-9._-]{0,99}$/),
  method: httpMethod,
  path: pathTemplate,
});

const serverWorkload = z.strictObject({
  kind: z.literal("ServerWorkload"),
  metadata,
  spec: z.strictObject({
    /** Name of a profile file: `openai`, `anthropic`, `gemini`, `http` … */
    profile: z.string().regex(/^[a-z0-9-]{1,63}$/),
    /** Exact hosts; the profile's own where absent. */
    hosts: z.array(hostname).min(1).max(50).optional(),
    port: z.int().min(1).max(65_535).default(443),
    /** How the credential is placed. The profile's own where absent; required by profile `http`. */
    injection: injectionSchema.optional(),
    /** Named operations, besides those of the profile. */
    operations: z.array(operation).max(500).optional(),
    ...reach,
    ...upstreamIdentity,
  }),
});

const secretName = z.string().regex(/^[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?$/);

const credentialProvider = z.strictObject({
  kind: z.literal("CredentialProvider"),
  metadata,
  spec: z.strictObject({
    /** `vault`: a secret of Postern's own encrypted vault. */
    kind: z.literal("vault"),
    /** Name given to `postern secret set`. */
    secret: secretName,
    /** Server workloads that this credential may ever be sent to. The binding is exact. */
    serverWorkloads: z.array(name).min(1).max(100),
  }),
});

/** `*` stands for any run of characters; nothing else is special. */
const pattern = z.string().min(1).max(500);

/** What a policy allows. Every field that is there must hold; at least one must be there. */
const allow = z
  .strictObject({
    operations: z.array(z.string().min(1).max(100)).min(1).max(200).optional(),
    models: z.array(z.string().min(1).max(200)).min(1).max(200).optional(),
    modelPatterns: z.array(pattern).min(1).max(200).optional(),
    methods: z.array(httpMethod).min(1).max(20).optional(),
    paths: z.array(z.string().startsWith("/").max(500)).min(1).max(200).optional(),
    pathPatterns: z.array(pattern.startsWith("/")).min(1).max(200).optional(),
    /** Everything this server workload offers; excludes the other fields. */
    everything: z.literal(true).optional(),
  })
  .refine(
    (value) => Object.keys(value).length > 0,
    "say what is allowed; `everything: true` allows all of it",
  )
  .refine(
    (value) => value.everything === undefined || Object.keys(value).length === 1,
    "`everything: true` stands alone",
  );

const accessCondition = z.strictObject({
  kind: z.literal("AccessCondition"),
  metadata,
  spec: accessConditionSpec,
});
const approver = z.strictObject({ kind: z.literal("Approver"), metadata, spec: approverSpec });

const accessPolicy = z.strictObject({
  kind: z.literal("AccessPolicy"),
  metadata,
  spec: z
    .strictObject({
      agents: z.array(name).min(1).max(1000),
      serverWorkload: name,
      /** Required where something is allowed. */
      credentialProvider: name.optional(),
      allow: allow.optional(),
      /** Names of AccessConditions that must all hold for what this policy permits. A `forbid` needs none. */
      conditions: z.array(name).min(1).max(20).optional(),
      /** Raw Cedar policies, validated against Postern's schema; `permit` and `forbid`. */
      cedar: z.string().min(1).max(50_000).optional(),
      /** What of it a person has to say yes to first. */
      approval: approvalSpec.optional(),
      /** `dry-run`: decided and recorded, not enforced. `enforce` where absent. */
      mode: z.enum(["enforce", "dry-run"]).optional(),
    })
    .refine((spec) => spec.allow !== undefined || spec.cedar !== undefined, "needs `allow` or `cedar`")
    .refine((spec) => spec.allow === undefined || spec.credentialProvider !== undefined, {
      message: "`allow` needs a credentialProvider",
      path: ["credentialProvider"],
    }),
});

const budget = z.strictObject({ kind: z.literal("Budget"), metadata, spec: budgetSpec });

const priceList = z.strictObject({ kind: z.literal("PriceList"), metadata, spec: priceListSpec });

const postureSource = z.strictObject({
  kind: z.literal("PostureSource"),
  metadata,
  spec: postureSourceSpec,
});

export const resourceSchema = z.discriminatedUnion("kind", [
  federatedTrustDomain,
  trustProvider,
  agent,
  serverWorkload,
  credentialProvider,
  accessCondition,
  approver,
  accessPolicy,
  budget,
  priceList,
  postureSource,
]);

export type Resource = z.infer<typeof resourceSchema>;
export type ResourceKind = Resource["kind"];
export type ResourceOf<K extends ResourceKind> = Extract<Resource, { kind: K }>;
