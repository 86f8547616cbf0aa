// SPDX-License-Identifier: Apache-2.0
/**
 * Are the bundles of sigstore-conformance taken and refused as their names say?
 *
 * Each folder is a case; a name that ends in `_fail` must be refused, every other one taken. Bundles are verified by the
 * code that verifies signatures of images, with the identity, issuer, key and trusted root of the case; where a case has
 * no root, with that of Sigstore's public instance. The exit code is 1 where a case goes another way, or none is there.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import seeds from "@sigstore/tuf/seeds.json" with { type: "json" };
import { isJsonObject, parseStrictJson } from "../packages/identity/src/jwt/strict-json.ts";
import { readSignerKey } from "../packages/identity/src/signer-key.ts";
import { parseTrustedRoot } from "../packages/identity/src/trusted-root.ts";
import { ok, refuse, type Result } from "../packages/identity/src/result.ts";
import { readStatement } from "../packages/server/src/attestation/sigstore/signed-statement.ts";
import { BundleVerifier, type PinnedKey } from "../packages/server/src/attestation/sigstore/verify-bundle.ts";
import { outsideData } from "../packages/testkit/src/outside-data.ts";

const IDENTITY =
  "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER = "https://token.actions.githubusercontent.com";

/** As the library's authors ship it: the root of the public instance, from its repository of The Update Framework. */
const PUBLIC_ROOT = Buffer.from(
  seeds["https://tuf-repo-cdn.sigstore.dev"].targets["trusted_root.json"],
  "base64",
);

/** Who has signed, or why the case is refused. */
function verify(folder: string, shared: string): Result<string, string> {
  const own = (name: string): Buffer | undefined =>
    existsSync(join(folder, name)) ? readFileSync(join(folder, name)) : undefined;
  const root = parseTrustedRoot(own("trusted_root.json") ?? PUBLIC_ROOT);
  if (!root.ok) return refuse(`the trusted root ${root.reason}`);
  const pem = own("key.pub");
  const publicKey = pem === undefined ? undefined : readSignerKey(pem.toString());
  if (pem !== undefined && publicKey === undefined) return refuse("the key is none");
  const pinned: PinnedKey | undefined = publicKey && { publicKey, requireLog: true };
  const bundle = parseStrictJson(own("bundle.sigstore.json") ?? Buffer.of());
  if (!bundle.ok) return bundle;
  if (!isJsonObject(bundle.value)) return refuse("json_malformed");
  const artifact = own("artifact") ?? readFileSync(join(shared, "a.txt"));
  const hasEnvelope = "dsseEnvelope" in bundle.value;
  const verifier = new BundleVerifier(root.value.json);
  const verified = verifier.verify(bundle.value, hasEnvelope ? undefined : artifact, pinned);
  if (!verified.ok) return verified;
  const { certificate, envelope } = verified.value;
  if (envelope !== undefined) {
    const digest = `sha256:${createHash("sha256").update(artifact).digest("hex")}`;
    const statement = readStatement(envelope, digest);
    if (!statement.ok) return statement;
  }
  if (certificate === undefined) return ok("by a key");
  const [identity, issuer] = [
    own("identity")?.toString().trim() ?? IDENTITY,
    own("issuer")?.toString().trim() ?? ISSUER,
  ];
  return certificate.identity === identity && certificate.issuer === issuer
    ? ok("by a certificate")
    : refuse("another signer");
}

const data = outsideData("sigstore", "https://github.com/sigstore/sigstore-conformance (test/assets)");
if (data === undefined) {
  process.stdout.write("sigstore: SKIPPED, there is no test data\n");
} else {
  const folder = join(data, "bundle-verify");
  const names = readdirSync(folder, { withFileTypes: true }).flatMap((each) =>
    each.isDirectory() ? each.name : [],
  );
  let different = 0;
  for (const name of names.toSorted()) {
    const found = verify(join(folder, name), folder);
    const isRight = found.ok !== name.endsWith("_fail");
    if (!isRight) different++;
    const said = found.ok ? `taken, ${found.value}` : `refused: ${found.reason}`;
    process.stdout.write(`${isRight ? "as named " : "DIFFERENT"} ${name.padEnd(56)} ${said}\n`);
  }
  process.stdout.write(`${names.length} cases, ${different} different from their names\n`);
  process.exitCode = different === 0 && names.length > 0 ? 0 : 1;
}
