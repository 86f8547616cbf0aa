// SPDX-License-Identifier: Apache-2.0
/**
 * What does one signature prove of an image, given whom the operator believes?
 *
 * First whether anybody has signed it at all, then who, then what, and last whether it is said of this image. A signer is
 * believed for signatures of images, and for attestations of the predicates that are listed for it.
 */
import type { KeyObject } from "node:crypto";
import type { SigstoreSigner, SigstoreSpec } from "@postern/contract";
import { readSignerKey } from "@postern/identity/signer-key";
import { parseTrustedRoot } from "@postern/identity/trusted-root";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { globMatches } from "../../policy/glob.ts";
import type { FoundSignature } from "./find-signatures.ts";
import { readSimpleSigning, readStatement, type Statement } from "./signed-statement.ts";
import { BundleVerifier, type CertificateIdentity, type VerifiedBundle } from "./verify-bundle.ts";

/** Facts as `name=value`, without the kind before them, or why there are none. */
export type Verdict = Result<readonly string[], string>;

type CertificateSigner = Extract<SigstoreSigner, { issuer: string }>;
type KeySigner = Extract<SigstoreSigner, { publicKey: string }>;

export class SignatureJudge {
  readonly #verifier: BundleVerifier;
  readonly #signers: readonly CertificateSigner[];
  readonly #keys: readonly { readonly signer: KeySigner; readonly publicKey: KeyObject }[];

  /** Settings that `postern apply` has checked; what cannot be read is believed nothing. */
  constructor({ signers, trustedRoot }: SigstoreSpec) {
    const root = trustedRoot === undefined ? undefined : parseTrustedRoot(Buffer.from(trustedRoot));
    this.#verifier = new BundleVerifier(root?.ok === true ? root.value.json : undefined);
    this.#signers = signers.filter((signer) => "issuer" in signer);
    this.#keys = signers.flatMap((signer) => {
      const publicKey = "publicKey" in signer ? readSignerKey(signer.publicKey) : undefined;
      return "publicKey" in signer && publicKey !== undefined ? [{ signer, publicKey }] : [];
    });
  }

  judge(signature: FoundSignature, digest: string): Verdict {
    const signed = this.#signersOf(signature);
    if (!signed.ok) return signed;
    const { signers, verified } = signed.value;
    const statement = statementOf(signature, verified, digest);
    if (!statement.ok) return statement;
    const proofs = signers.flatMap((signer) => proofsOf(signer, statement.value, verified.certificate));
    return proofs.length === 0 ? refuse("predicate_not_listed") : ok([...new Set(proofs)]);
  }

  /** At least one. */
  #signersOf({
    bundle,
    message,
  }: FoundSignature): Result<{ signers: readonly SigstoreSigner[]; verified: VerifiedBundle }, string> {
    const verified = this.#verifier.verify(bundle, message);
    if (verified.ok) {
      const signers = this.#signers.filter((signer) => isMeant(signer, verified.value.certificate));
      return signers.length === 0
        ? refuse(`signer_not_listed (${nameOf(verified.value.certificate)})`)
        : ok({ signers, verified: verified.value });
    }
    if (verified.reason !== "no_certificate") return verified;
    const tried = this.#keys.map(({ publicKey, signer }) => ({
      signer,
      verified: this.#verifier.verify(bundle, message, { publicKey, requireLog: signer.requireLog }),
    }));
    const good = tried.flatMap((each) =>
      each.verified.ok ? [{ ...each, verified: each.verified.value }] : [],
    );
    const [first] = good;
    if (first !== undefined)
      return ok({ signers: good.map(({ signer }) => signer), verified: first.verified });
    const [reason = "key_not_listed"] = tried.flatMap((each) =>
      each.verified.ok ? [] : [each.verified.reason],
    );
    return refuse(tried.length === 1 ? reason : "key_not_listed");
  }
}

function isMeant(signer: CertificateSigner, certificate: CertificateIdentity | undefined): boolean {
  if (certificate === undefined || certificate.issuer !== signer.issuer) return false;
  const { identity, identityPattern, ownerId, repositoryId } = signer;
  const isName =
    identity === undefined
      ? identityPattern !== undefined && globMatches(identityPattern, certificate.identity)
      : identity === certificate.identity;
  return (
    isName &&
    (repositoryId === undefined || repositoryId === certificate.repositoryId) &&
    (ownerId === undefined || ownerId === certificate.ownerId)
  );
}

const nameOf = (certificate: CertificateIdentity | undefined): string =>
  `${certificate?.identity.slice(0, 200)} of ${certificate?.issuer.slice(0, 100)}`;

function statementOf(
  { message }: FoundSignature,
  { envelope }: VerifiedBundle,
  digest: string,
): Result<Statement, string> {
  if (envelope !== undefined) return readStatement(envelope, digest);
  return message === undefined ? refuse("payload_malformed") : readSimpleSigning(message, digest);
}

function proofsOf(
  { name, predicates = [] }: SigstoreSigner,
  statement: Statement,
  certificate: CertificateIdentity | undefined,
): string[] {
  if (statement.says === "attested")
    return predicates.includes(statement.predicate)
      ? [`attested-by=${name}`, `predicate=${statement.predicate}`]
      : [];
  const who =
    certificate === undefined ? [] : [`identity=${certificate.identity}`, `issuer=${certificate.issuer}`];
  return [`signed-by=${name}`, ...who];
}
