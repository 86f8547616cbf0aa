// SPDX-License-Identifier: Apache-2.0
/**
 * What may an operator say about signatures of container images: where they are read, and who is believed?
 *
 * Only registries that are listed are asked. A signer is a certificate identity with its issuer, or a key; there is no
 * "any identity" and no "any issuer".
 */
import { z } from "zod";
import { reach } from "./reach.ts";

/** As images name it: `ghcr.io`, `registry.corp.example:5000`. */
const registryHost = z
  .string()
  .max(260)
  .regex(
    /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9]\d{0,4})?$/,
    "use the host as images name it, in lower case, such as ghcr.io",
  );

const endpoint = z
  .string()
  .max(300)
  .regex(/^https:\/\/[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9]\d{0,4})?$/, "use https://host without a path");

const registry = z.strictObject({
  host: registryHost,
  /** Where it is asked, if not at `https://HOST`. */
  url: endpoint.optional(),
  /** Where tokens to read with come from, if not from the registry's own host. */
  tokenUrl: z
    .string()
    .max(500)
    .regex(
      /^https:\/\/[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9]\d{0,4})?(\/[A-Za-z0-9._~-]+)*$/,
      "use https://host/path without user, query or fragment",
    )
    .optional(),
  /** Hosts that it may redirect to for what is stored elsewhere; they get no credential. */
  redirectHosts: z.array(registryHost).max(20).optional(),
  /** A Docker configuration file (`config.json`, `.dockerconfigjson`) with an entry for the host; read anew each time. */
  credentialFile: z.string().startsWith("/", "use an absolute path").max(1000).optional(),
  ...reach,
});

const signerName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "use lower-case letters, digits and hyphens");

const shared = {
  /** Value of `sigstore:signed-by`. Several signers may have one name: any of them is enough. */
  name: signerName,
  /** Predicate types of attestations that this signer is believed; none by default. */
  predicates: z.array(z.string().min(1).max(300)).max(50).optional(),
};

/** RFC 3986 has no spaces, and whoever reads a selector should see all of it. */
const visible = z.string().regex(/^[\x21-\x7e]+$/, "use printable ASCII without spaces");

const certificateSigner = z
  .strictObject({
    ...shared,
    /** What the certificate's subject alternative name is, byte for byte. */
    identity: visible.max(1000).optional(),
    /** The same with `*` for any run of characters; the whole must match. */
    identityPattern: visible.max(1000).optional(),
    /** Who told the certificate authority who the signer is: the OIDC issuer, byte for byte. */
    issuer: visible.max(500),
    /** Ids of the repository and of its owner, where the issuer states them; names are given to others, ids are not. */
    repositoryId: z
      .string()
      .regex(/^\d{1,20}$/, "use the numeric id, in quotes")
      .optional(),
    ownerId: z
      .string()
      .regex(/^\d{1,20}$/, "use the numeric id, in quotes")
      .optional(),
  })
  .refine((signer) => (signer.identity === undefined) !== (signer.identityPattern === undefined), {
    message: "needs `identity` or `identityPattern`, and not both",
  });

const keySigner = z.strictObject({
  ...shared,
  /** PEM: ECDSA, Ed25519, or RSA from 2048 bits. */
  publicKey: z.string().min(1).max(10_000),
  /** Signatures must be in a transparency log of the trusted root too. */
  requireLog: z.boolean().default(false),
});

export const sigstoreSpec = z.strictObject({
  registries: z.array(registry).min(1).max(20),
  /** A Sigstore trusted root (`trusted_root.json`) as text: certificate authorities, logs, timestamp authorities. */
  trustedRoot: z.string().min(1).max(200_000).optional(),
  signers: z
    .array(z.union([certificateSigner, keySigner]))
    .min(1)
    .max(50),
});

export type SigstoreSpec = z.infer<typeof sigstoreSpec>;
export type SigstoreRegistry = SigstoreSpec["registries"][number];
export type SigstoreSigner = SigstoreSpec["signers"][number];

/** Selectors `sigstore:name=value` of trust providers that have `sigstore`. */
export const SIGSTORE_SELECTOR_NAMES = [
  "signed-by",
  "attested-by",
  "identity",
  "issuer",
  "predicate",
] as const;
