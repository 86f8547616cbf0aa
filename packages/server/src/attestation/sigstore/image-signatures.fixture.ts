// SPDX-License-Identifier: Apache-2.0
/** A registry, signers and settings that believe two of them, for the tables of what proves what. */
import type { SigstoreSigner, SigstoreSpec } from "@postern/contract";
import {
  createSigstore,
  createTestAuthority,
  type OciRegistry,
  PROVENANCE,
  type RegistryOptions,
  signerByKey,
  startOciRegistry,
} from "@postern/testkit";
import { systemClock } from "../../kernel/clock.ts";
import { ImageSignatures } from "./image-signatures.ts";

export const ISSUER = "https://token.actions.githubusercontent.com";
export const RELEASE = "https://github.com/corp/agent/.github/workflows/release.yml@refs/heads/main";
export const HOST = "registry.example";

export const authority = await createTestAuthority();
export const sigstore = await createSigstore();
/** Whose certificates nobody here trusts. */
export const elsewhere = await createSigstore("fulcio.elsewhere.example");
export const platformKey = signerByKey();

export const SIGNERS: SigstoreSigner[] = [
  { name: "release", identity: RELEASE, issuer: ISSUER, predicates: [PROVENANCE] },
  { name: "platform", publicKey: platformKey.publicKey, requireLog: false },
];

export const startRegistry = (more: Partial<RegistryOptions> = {}): Promise<OciRegistry> =>
  startOciRegistry({ authority, host: HOST, ...more });

export function specFor(registry: OciRegistry, more: Partial<SigstoreSpec> = {}): SigstoreSpec {
  return {
    registries: [registryEntry(registry)],
    trustedRoot: sigstore.trustedRoot,
    signers: SIGNERS,
    ...more,
  };
}

export const registryEntry = ({ host, port }: OciRegistry): SigstoreSpec["registries"][number] => ({
  host,
  connectTo: { address: "127.0.0.1", port },
  allowedNetworks: ["127.0.0.1/32"],
  caCertificates: authority.certificate,
});

/** Facts as `name=value`, sorted, or what operators are told. */
export function proofsBy(spec: SigstoreSpec): (...images: readonly string[]) => Promise<string[] | string> {
  const signatures = new ImageSignatures(spec, systemClock);
  return async (...images) => {
    const { facts, notes } = await signatures.factsOf(images.map((image) => [image]));
    const proofs = Object.entries(facts).flatMap(([name, value]) =>
      [value ?? []].flat().map((one) => `${name}=${one}`),
    );
    return proofs.length > 0
      ? proofs.toSorted()
      : notes.map((note) => note.replace(/^image .*?: /, "")).join("; ");
  };
}
