// SPDX-License-Identifier: Apache-2.0
/** Does what a registry shows, and what an image is called, lead nowhere but where it says? */
import { readChallenge } from "../../packages/server/src/attestation/sigstore/challenge.ts";
import { readImageName } from "../../packages/server/src/attestation/sigstore/image-name.ts";
import { readIndex, readLayers } from "../../packages/server/src/attestation/sigstore/oci-manifest.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

function check(input: Buffer): void {
  const text = input.toString("latin1");
  checkImage(text);
  checkChallenge(text);
  for (const [name, read] of [
    ["layers", readLayers],
    ["manifests", readIndex],
  ] as const) {
    const found = read(input);
    if (!found.ok) continue;
    const listed = (
      JSON.parse(input.toString("utf8")) as Record<string, { digest: unknown; size: unknown }[]>
    )[name]!;
    demandEqual(
      found.value.map(({ digest, size }) => [digest, size]),
      listed.map(({ digest, size }) => [digest, size]),
      name,
    );
    for (const { annotations, digest } of found.value) {
      demand(/^sha256:[0-9a-f]{64}$/.test(digest), "a digest of another form");
      demand(
        Object.values(annotations).every((each) => typeof each === "string"),
        "an annotation that is no text",
      );
    }
  }
}

/** A URL parser finds host and path as they were read, and changes nothing. */
function checkImage(text: string): void {
  const image = readImageName(text);
  if (image === undefined) return;
  const { digest, registry, repository } = image;
  const url = new URL(`https://${registry}/v2/${repository}/manifests/${digest}`);
  demandEqual(url.pathname, `/v2/${repository}/manifests/${digest}`, "the path");
  demandEqual([url.username, url.password, url.search, url.hash], ["", "", "", ""], "other parts");
  const named = text.slice(0, -digest.length - 1);
  const spellings = [`${registry}/${repository}`];
  if (registry === "docker.io") spellings.push(repository, repository.replace(/^library\//, ""));
  demand(text.endsWith(`@${digest}`) && spellings.some((each) => isWithTag(named, each)), "another image");
}

const isWithTag = (named: string, spelling: string): boolean =>
  named === spelling || (named.startsWith(`${spelling}:`) && !named.slice(spelling.length).includes("/"));

/** Written again from what was read, it says the same, and each parameter is there once. */
function checkChallenge(text: string): void {
  const challenge = readChallenge(text);
  if (challenge === undefined || challenge.scheme === "basic") return;
  const { realm, service } = challenge;
  const again = `Bearer realm="${realm}"${service === undefined ? "" : `,service="${service}"`}`;
  demandEqual(readChallenge(again), challenge, "the challenge");
  const count = text.match(/(?<![A-Za-z_])realm="/gi)?.length ?? 0;
  demandEqual(count, 1, "realms");
}

const target: FuzzTarget = {
  parsers: [
    "packages/server/src/attestation/sigstore/challenge.ts",
    "packages/server/src/attestation/sigstore/image-name.ts",
    "packages/server/src/attestation/sigstore/oci-manifest.ts",
  ],
  property:
    "A list holds what another parser finds in it and digests in one form; an image's name is the path that a URL parser reads; a challenge says each thing once.",
  words: [
    ...[
      "Bearer ",
      "Basic ",
      'realm="',
      'service="',
      '",',
      "\\",
      "@sha256:",
      "/../",
      "%2e",
      "//",
      ":443",
      "localhost/",
    ],
    ...[
      '"layers":[',
      '"manifests":[',
      '"schemaVersion":2',
      '"annotations":{',
      `"digest":"sha256:${"a".repeat(64)}"`,
      '"size":1',
    ],
  ],
  check,
};
export default target;
