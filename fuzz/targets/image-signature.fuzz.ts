// SPDX-License-Identifier: Apache-2.0
/** Is an image signed only by what its signer has signed, byte for byte, whatever stands around it? */
import { isJsonObject, parseStrictJson } from "../../packages/identity/src/jwt/strict-json.ts";
import { parseTrustedRoot } from "../../packages/identity/src/trusted-root.ts";
import {
  envelopeBundle,
  simpleSigningBundle,
} from "../../packages/server/src/attestation/sigstore/cosign-annotations.ts";
import {
  readSimpleSigning,
  readStatement,
} from "../../packages/server/src/attestation/sigstore/signed-statement.ts";
import { BundleVerifier } from "../../packages/server/src/attestation/sigstore/verify-bundle.ts";
import signed from "../signed-image.json" with { type: "json" };
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const root = parseTrustedRoot(Buffer.from(JSON.stringify(signed.trustedRoot)));
const verifier = new BundleVerifier(root.ok ? root.value.json : undefined);
const payload = Buffer.from(signed.payload);
const bundle = JSON.stringify(signed.bundle);
const annotations = JSON.stringify(signed.annotations);
const IDENTITY = "https://github.com/corp/agent/.github/workflows/release.yml@refs/heads/main";

function check(input: Buffer): void {
  demand(root.ok, "the trusted root is refused");
  checkTexts(input);
  const taken = parseTrustedRoot(input);
  // What an operator is let apply must not fail where it is used: a sound bundle is believed, or not for a reason.
  const byTaken = taken.ok
    ? new BundleVerifier(taken.value.json).verify(signed.bundle, undefined)
    : undefined;
  demand(
    byTaken?.ok !== false || byTaken.reason !== "bundle_malformed",
    "a trusted root that cannot be used",
  );
  const json = parseStrictJson(input);
  if (!json.ok || !isJsonObject(json.value)) return;
  checkBundle(json.value, undefined);
  checkBundle(json.value, payload);
  const texts = Object.fromEntries(
    Object.entries(json.value).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
  const simple = simpleSigningBundle(texts, payload);
  if (simple.ok) checkBundle(simple.value, payload);
  const envelope = envelopeBundle(signed.annotations, input);
  if (envelope.ok) checkBundle(envelope.value, undefined);
}

function checkBundle(value: Readonly<Record<string, unknown>>, message: Buffer | undefined): void {
  const verified = verifier.verify(value, message);
  if (!verified.ok) return;
  demandEqual(verified.value.certificate?.identity, IDENTITY, "the identity");
  if (message === undefined)
    demandEqual(verified.value.envelope?.payload.toString(), signed.statement, "the signed text");
}

/** A text is about the image only where another parser finds its digest in the same place. */
function checkTexts(input: Buffer): void {
  const statement = readStatement({ type: "application/vnd.in-toto+json", payload: input }, signed.digest);
  if (statement.ok) {
    const { subject } = JSON.parse(input.toString()) as { subject: { digest?: { sha256?: string } }[] };
    const digests = subject.map(({ digest }) => `sha256:${digest?.sha256}`);
    demand(digests.includes(signed.digest), "a statement about another image");
  }
  if (!readSimpleSigning(input, signed.digest).ok) return;
  const { critical } = JSON.parse(input.toString()) as { critical: { image: Record<string, unknown> } };
  demandEqual(critical.image["docker-manifest-digest"], signed.digest, "the digest of a payload");
}

const target: FuzzTarget = {
  parsers: [
    "packages/identity/src/trusted-root.ts",
    "packages/server/src/attestation/sigstore/cosign-annotations.ts",
    "packages/server/src/attestation/sigstore/signed-statement.ts",
    "packages/server/src/attestation/sigstore/verify-bundle.ts",
  ],
  property:
    "Whatever stands around it, nothing is verified but what the signer has signed; a text is about the image only where its digest is; a trusted root that is taken can be used.",
  words: [
    ...[
      '"publicKey":{"hint":""}',
      '"tlogEntries":[]',
      '"inclusionPromise":{}',
      '"integratedTime":"0"',
      '"certificate"',
    ],
    ...[
      '"x509CertificateChain":{"certificates":[]}',
      '"messageSignature":{}',
      '"validFor":null',
      "version=0.1",
      "null",
    ],
  ],
  make: (choose) =>
    choose.pick([bundle, annotations, signed.statement, signed.payload, JSON.stringify(signed.trustedRoot)]),
  check,
};
export default target;
