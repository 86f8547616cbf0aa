// SPDX-License-Identifier: Apache-2.0
/**
 * What may stand in `spec` of a TrustProvider: a shape for each kind of evidence.
 *
 * Whatever keeps strangers out is required: an issuer that serves everybody, such as GitHub's, needs the ids of the
 * owners that are believed.
 */
import { z } from "zod";
import { reach } from "./reach.ts";
import { sigstoreSpec } from "./sigstore.ts";

/** RFC 7519 §4.1.3: what tokens must be made for; a name of Postern's own, not shared with anything else. */
const audience = z
  .string()
  .min(1)
  .max(500)
  .regex(/^[\x21-\x7e]+$/, "use printable ASCII without spaces");

/** Compared byte for byte, so one spelling only. */
const httpsUrl = z
  .string()
  .max(500)
  .regex(
    /^https:\/\/[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9]\d{0,4})?(\/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*\/?$/,
    "use https://host/path with a lower-case host, without user, query or fragment",
  );

/** A claim by name, or by JSON pointer (RFC 6901) where it starts with a slash. */
const claim = z
  .string()
  .min(1)
  .max(300)
  .regex(/^[\x21-\x7e]+$/, "use the name of a claim, or a JSON pointer such as /kubernetes.io/namespace");

/** Must all hold for any evidence; which agent it is comes after, from selectors. */
const conditions = z
  .array(z.strictObject({ claim, oneOf: z.array(z.string().min(1).max(500)).min(1).max(100) }))
  .max(50)
  .optional();

const token = {
  audience,
  conditions,
  /** Seconds from a token's `iat` to its `exp`. */
  maxTokenLifetime: z.int().min(60).max(31_536_000).optional(),
  ...reach,
};

/** Ids that are never given to anybody else, as names are. Google's have 21 digits. */
const numericIds = z
  .array(z.string().regex(/^[1-9]\d{0,24}$/, "use the numeric id, in quotes"))
  .min(1)
  .max(100);

export type ContainerEngineKind = "docker" | "podman";

const process = z.strictObject({
  /** `process`: evidence is what the kernel says of a local process. */
  kind: z.literal("process"),
});

/** `docker`, `podman`: a container on this machine, by its control groups and what its engine says of it. */
const container = <K extends ContainerEngineKind>(kind: K, engineSocket: string) =>
  z.strictObject({
    kind: z.literal(kind),
    /** Of the engine's API. */
    engineSocket: z.string().startsWith("/", "use an absolute path").max(107).default(engineSocket),
    /** Signatures of the container's image prove more. */
    sigstore: sigstoreSpec.optional(),
  });

const spiffe = z
  .strictObject({
    kind: z.literal("spiffe"),
    /** Of somebody else, such as a SPIRE server's. */
    trustDomain: z
      .string()
      .max(255)
      .regex(/^[a-z0-9._-]+$/, "use the name of a trust domain, such as partner.example"),
    /** The trust bundle as text, where it is not fetched. */
    bundle: z.string().min(1).max(500_000).optional(),
    /** Name of a FederatedTrustDomain, whose bundle is kept up to date; X.509-SVIDs count then, too. */
    federatedTrustDomain: z.string().min(1).max(63).optional(),
    /** Where the trust bundle is published, with a certificate of the Web (profile `https_web`). */
    bundleUrl: httpsUrl.optional(),
    ...token,
  })
  .refine(
    ({ bundle, bundleUrl, federatedTrustDomain }) =>
      [bundle, bundleUrl, federatedTrustDomain].filter((each) => each !== undefined).length === 1,
    { message: "needs exactly one of `federatedTrustDomain`, `bundle` and `bundleUrl`" },
  );

const joinToken = z.strictObject({
  kind: z.literal("join-token"),
  /** Seconds for which a token can be used, once. */
  maxTokenLifetime: z.int().min(60).max(86_400).default(600),
});

const kubernetes = z
  .strictObject({
    kind: z.literal("kubernetes"),
    issuer: httpsUrl,
    /** The key set of the cluster as text, where nobody can be asked for it. */
    jwks: z.string().min(1).max(100_000).optional(),
    /** Asked for every token whether it, its pod and its service account are still there; gives its keys too. */
    apiServer: z
      .strictObject({
        url: httpsUrl,
        /** Postern's own token for the API server; read anew each time. */
        tokenFile: z.string().startsWith("/", "use an absolute path").max(1000),
        ...reach,
      })
      .optional(),
    /** Signatures of the pod's images prove more; with `apiServer`, which names the images. */
    sigstore: sigstoreSpec.optional(),
    ...token,
  })
  .refine((spec) => spec.jwks === undefined || spec.apiServer === undefined, {
    message: "`jwks` is not used with `apiServer`, which gives its keys; remove it",
    path: ["jwks"],
  });

const githubActions = z.strictObject({
  kind: z.literal("github-actions"),
  issuer: httpsUrl.default("https://token.actions.githubusercontent.com"),
  ownerIds: numericIds,
  ...token,
});

const gitlab = z.strictObject({
  kind: z.literal("gitlab"),
  issuer: httpsUrl.default("https://gitlab.com"),
  namespaceIds: numericIds,
  ...token,
});

const terraformCloud = z.strictObject({
  kind: z.literal("terraform-cloud"),
  issuer: httpsUrl.default("https://app.terraform.io"),
  organizationIds: z
    .array(z.string().regex(/^org-[A-Za-z0-9]{1,60}$/, "use the id, such as org-GRNbCjYNpBB6NEBV"))
    .min(1)
    .max(100),
  ...token,
});

/** Twelve digits, in quotes: a number would lose leading zeros. */
const accountIds = z
  .array(z.string().regex(/^\d{12}$/, "use the twelve digits of the account, in quotes"))
  .min(1)
  .max(100);
const awsRegion = z.string().regex(/^[a-z]{2}(-[a-z]+)+-\d$/, "use a region such as eu-west-1");

const awsIam = z
  .strictObject({
    kind: z.literal("aws-iam"),
    accountIds,
    /** The account's own issuer, for tokens of `sts:GetWebIdentityToken`. */
    issuer: httpsUrl.optional(),
    /** Whose STS is asked, for signed requests of `sts:GetCallerIdentity`. */
    regions: z.array(awsRegion).min(1).max(50).optional(),
    ...token,
  })
  .refine((spec) => spec.issuer !== undefined || spec.regions !== undefined, {
    message: "needs `issuer` for tokens, `regions` for signed requests, or both",
  });

const awsEc2 = z.strictObject({
  kind: z.literal("aws-ec2"),
  accountIds,
  /** Whose certificates count. */
  regions: z.array(awsRegion).min(1).max(50),
  /** PEM certificates of regions, in the place of those that Postern brings along. */
  certificates: z.record(awsRegion, z.string().max(10_000)).default({}),
  /** Seconds after its start in which an instance can be attested, once. */
  maxDocumentAge: z.int().min(60).max(31_536_000).default(600),
  /** RSA-1024 signatures of documents, too: weak, for instances that cannot ask for the other. */
  allowRsa1024: z.boolean().default(false),
});

const gcp = z
  .strictObject({
    kind: z.literal("gcp"),
    /** Of virtual machines, whose tokens have `format=full`. */
    projectIds: z
      .array(z.string().regex(/^[a-z0-9.:-]{6,100}$/))
      .min(1)
      .max(100)
      .optional(),
    /** Unique ids of service accounts, for tokens that name no machine. */
    serviceAccountIds: numericIds.optional(),
    ...token,
  })
  .refine((spec) => spec.projectIds !== undefined || spec.serviceAccountIds !== undefined, {
    message: "needs `projectIds` or `serviceAccountIds`: Google signs for everybody",
  });

const azure = z.strictObject({
  kind: z.literal("azure"),
  /** The directory; never `common` or `organizations`. */
  tenantId: z
    .string()
    .regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, "use the tenant's id, in lower case"),
  /** Managed identities get version 1, applications mostly version 2. */
  tokenVersion: z.union([z.literal(1), z.literal(2)]).default(1),
  ...token,
});

/** What a word of ours in a selector may look like. */
const factName = z.string().regex(/^[a-z0-9-]{1,50}$/, "use lower-case letters, digits and hyphens");

const oidc = z.strictObject({
  kind: z.literal("oidc"),
  issuer: httpsUrl,
  /** Name of a fact → the claim that it is read from. */
  mapping: z.record(factName, claim).default({}),
  algorithms: z
    .array(z.enum(["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"]))
    .min(1)
    .default(["RS256", "ES256"]),
  /** Each token once, by its `jti`. */
  singleUse: z.boolean().default(false),
  ...token,
});

export const trustProviderSpec = z.discriminatedUnion("kind", [
  process,
  container("docker", "/var/run/docker.sock"),
  container("podman", "/run/podman/podman.sock"),
  joinToken,
  spiffe,
  kubernetes,
  githubActions,
  gitlab,
  terraformCloud,
  awsIam,
  awsEc2,
  gcp,
  azure,
  oidc,
]);

export type TrustProviderSpec = z.infer<typeof trustProviderSpec>;
export type TrustProviderKind = TrustProviderSpec["kind"];

// prettier-ignore
const CONTAINER_SELECTORS = ["container-id", "image", "image-id", "image-digest", "label", "uid", "gid"] as const;

/** Facts that each kind of evidence can prove: `kind:name=value` is a selector. `oidc` has those of its `mapping` too. */
export const SELECTOR_NAMES = {
  process: ["agent", "uid", "gid", "path", "sha256", "cgroup", "isolated", "run"],
  docker: CONTAINER_SELECTORS,
  podman: CONTAINER_SELECTORS,
  "join-token": ["name"],
  spiffe: ["id", "trust-domain"],
  kubernetes: [
    "namespace",
    "service-account",
    "service-account-uid",
    "pod-name",
    "pod-uid",
    "node-name",
    "node-uid",
    "pod-label",
    "pod-owner",
    "pod-owner-uid",
    "pod-image",
    "pod-image-digest",
    "pod-image-count",
    "pod-privileged",
    "pod-host-network",
    "pod-host-pid",
    "pod-host-ipc",
    "pod-host-path",
    "pod-privilege-escalation",
    "pod-read-only-root",
    "pod-run-as-non-root",
    "pod-seccomp",
    "pod-drops-capabilities",
    "pod-capability",
    "pod-memory-limit",
  ],
  "github-actions": [
    "repository-id",
    "owner-id",
    "actor-id",
    "repository-visibility",
    "environment",
    "ref",
    "ref-type",
    "ref-protected",
    "event",
    "sha",
    "workflow-ref",
    "workflow-sha",
    "job-workflow-ref",
    "job-workflow-sha",
    "runner-environment",
  ],
  gitlab: [
    "project-id",
    "namespace-id",
    "user-id",
    "project-visibility",
    "environment",
    "environment-protected",
    "deployment-tier",
    "ref",
    "ref-type",
    "ref-protected",
    "pipeline-source",
    "sha",
    "ci-config-ref-uri",
    "ci-config-sha",
    "runner-id",
    "runner-environment",
  ],
  "terraform-cloud": ["organization-id", "project-id", "workspace-id", "run-phase"],
  "aws-iam": [
    "account-id",
    "organization-id",
    "role",
    "role-id",
    "role-arn",
    "user",
    "user-id",
    "lambda-function",
    "ec2-instance",
    "region",
  ],
  "aws-ec2": ["account-id", "region", "availability-zone", "instance-id", "image-id", "instance-type"],
  gcp: [
    "service-account-id",
    "service-account",
    "project-id",
    "project-number",
    "zone",
    "instance-id",
    "instance-name",
  ],
  azure: ["tenant-id", "object-id", "application-id", "resource-id", "subscription-id", "resource-group"],
  oidc: ["subject"],
} as const satisfies Record<TrustProviderKind, readonly string[]>;

/** The names of one kind. */
export type SelectorName<K extends TrustProviderKind> = (typeof SELECTOR_NAMES)[K][number];
