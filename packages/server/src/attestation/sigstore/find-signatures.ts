// SPDX-License-Identifier: Apache-2.0
/**
 * What has anybody signed about an image, as far as its registry shows? Nothing of it is believed here.
 *
 * Three places, which cosign and others have used over time: the referrers of the digest (with the tag that stands in for
 * them where a registry has no such API), and the tags `sha256-….sig` and `sha256-….att`.
 */
import { createHash } from "node:crypto";
import { isJsonObject, parseStrictJson } from "@postern/identity/jwt/strict-json";
import { type Result, ok, refuse } from "../../kernel/result.ts";
import { envelopeBundle, simpleSigningBundle } from "./cosign-annotations.ts";
import type { ImageName } from "./image-name.ts";
import { type Descriptor, readIndex, readLayers } from "./oci-manifest.ts";
import type { RegistryReader } from "./registry.ts";

export interface FoundSignature {
  /** SHA-256 over all that counts: what has been verified once need not be again. */
  readonly id: string;
  readonly bundle: Readonly<Record<string, unknown>>;
  /** What a signature without an envelope is over. */
  readonly message: Buffer | undefined;
}

export interface FoundSignatures {
  readonly found: readonly FoundSignature[];
  /** Why something could not be read; empty where everything was. */
  readonly problems: readonly string[];
  /** Somebody could not be asked: there may be more than was found. */
  readonly isIncomplete: boolean;
}

const MANIFEST =
  "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
const INDEX = "application/vnd.oci.image.index.v1+json";
const BUNDLE = /^application\/vnd\.dev\.sigstore\.bundle(\.v0\.\d+)?\+json/;
const SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json";
const ENVELOPE = "application/vnd.dsse.envelope.v1+json";
/** cosign's own kinds of referrers, before bundles. */
const COSIGN = /^application\/vnd\.dev\.cosign\.artifact\.(sig|att)\.v1\+json$/;

const MOST_MANIFEST_BYTES = 262_144;
const MOST_SIGNED_BYTES = 1_048_576;
/** Of all that is read for one image: whoever may push to a registry chooses how much there is. */
const MOST_SIGNED_IN_ALL = 4 * MOST_SIGNED_BYTES;
const MOST_SIGNATURES = 24;
const MOST_PAGES = 3;

type Layers = Result<readonly Descriptor[], string>;

export async function findSignatures(registry: RegistryReader, image: ImageName): Promise<FoundSignatures> {
  const tag = image.digest.replace(":", "-");
  const places = await Promise.all([
    readReferrers(registry, image),
    readTag(registry, `${tag}.sig`),
    readTag(registry, `${tag}.att`),
  ]);
  const layers = places.flatMap((place) => (place.ok ? place.value : []));
  const problems = places.flatMap((place) => (place.ok ? [] : [place.reason]));
  const wanted = withinBudget(layers, MOST_SIGNED_IN_ALL);
  const isTooMany = layers.length > wanted.length;
  const read = await Promise.all(wanted.map((layer) => readLayer(registry, layer)));
  const failed = read.flatMap((each) => (each.ok ? [] : [each.reason]));
  return {
    found: read.flatMap((each) => (each.ok ? [each.value] : [])),
    problems: [...problems, ...failed, ...(isTooMany ? ["too_many_signatures"] : [])],
    isIncomplete: problems.length > 0 || failed.some((reason) => reason.startsWith("registry_")),
  };
}

/** The first of them, as many as there may be, and no more bytes than these. */
function withinBudget(descriptors: readonly Descriptor[], mostBytes: number): Descriptor[] {
  let bytes = 0;
  return descriptors.slice(0, MOST_SIGNATURES).filter(({ size }) => {
    const fits = bytes + Math.min(size, MOST_SIGNED_BYTES) <= mostBytes;
    if (fits) bytes += Math.min(size, MOST_SIGNED_BYTES);
    return fits;
  });
}

const isSigned = ({ mediaType }: Descriptor): boolean =>
  mediaType === SIMPLE_SIGNING || mediaType === ENVELOPE || BUNDLE.test(mediaType);

async function readTag(registry: RegistryReader, tag: string): Promise<Layers> {
  const answer = await registry.read({
    ...{ path: `manifests/${tag}`, accept: MANIFEST, mostBytes: MOST_MANIFEST_BYTES },
  });
  if (!answer.ok) return answer;
  if (answer.value === undefined) return ok([]);
  const layers = readLayers(answer.value.body);
  return layers.ok ? ok(layers.value.filter(isSigned)) : layers;
}

/** The layers of every referrer that is a signature or an attestation. */
async function readReferrers(registry: RegistryReader, { digest }: ImageName): Promise<Layers> {
  const listed = await listReferrers(registry, digest);
  if (!listed.ok) return listed;
  const wanted = listed.value.filter(
    ({ artifactType }) => BUNDLE.test(artifactType) || COSIGN.test(artifactType),
  );
  const manifests = await Promise.all(
    withinBudget(wanted, 4 * MOST_MANIFEST_BYTES).map(async (each): Promise<Layers> => {
      const most = Math.min(each.size, MOST_MANIFEST_BYTES);
      const body = await readByDigest(registry, "manifests", each.digest, MANIFEST, most);
      return body.ok ? readLayers(body.value) : body;
    }),
  );
  const failed = manifests.find((each) => !each.ok);
  const layers = manifests.flatMap((each) => (each.ok ? each.value.filter(isSigned) : []));
  return failed !== undefined && layers.length === 0 ? failed : ok(layers);
}

/** §"Listing Referrers": the API, page by page; where it is not there, the tag that clients keep instead. */
async function listReferrers(registry: RegistryReader, digest: string): Promise<Layers> {
  const read = { accept: INDEX, mostBytes: MOST_MANIFEST_BYTES };
  const found: Descriptor[] = [];
  let path: string | undefined = `referrers/${digest}`;
  for (let page = 0; path !== undefined && page < MOST_PAGES; page++) {
    const answer = await registry.read({ path, ...read });
    // A registry that knows nothing of the API may answer with anything.
    if (!answer.ok && page === 0 && answer.reason.startsWith("registry_status_4")) break;
    if (!answer.ok) return answer;
    if (answer.value === undefined) break;
    const index = readIndex(answer.value.body);
    if (!index.ok) return index;
    found.push(...index.value);
    path = nextPage(answer.value.headers.link, digest);
    if (path === undefined) return ok(found);
  }
  if (found.length > 0) return ok(found);
  const answer = await registry.read({ path: `manifests/${digest.replace(":", "-")}`, ...read });
  if (!answer.ok || answer.value === undefined) return answer.ok ? ok([]) : answer;
  return readIndex(answer.value.body);
}

/** RFC 8288: only a further page of the same list, whose query is taken and whose place is not. */
function nextPage(link: string | string[] | undefined, digest: string): string | undefined {
  const [, query] =
    /^<[^<>\s]{0,1000}\?([A-Za-z0-9._~%=&:+-]{1,1000})>\s*;\s*rel="?next"?$/.exec([link].flat()[0] ?? "") ??
    [];
  return query === undefined ? undefined : `referrers/${digest}?${query}`;
}

async function readLayer(
  registry: RegistryReader,
  layer: Descriptor,
): Promise<Result<FoundSignature, string>> {
  if (layer.size > MOST_SIGNED_BYTES) return refuse("signature_too_large");
  const blob = await readByDigest(registry, "blobs", layer.digest, layer.mediaType, layer.size);
  if (!blob.ok) return blob;
  const bundle = bundleOf(layer, blob.value);
  if (!bundle.ok) return bundle;
  const message = layer.mediaType === SIMPLE_SIGNING ? blob.value : undefined;
  const id = createHash("sha256")
    .update(JSON.stringify(bundle.value))
    .update(message ?? "")
    .digest("hex");
  return ok({ id, bundle: bundle.value, message });
}

function bundleOf(layer: Descriptor, blob: Buffer): Result<Readonly<Record<string, unknown>>, string> {
  if (layer.mediaType === SIMPLE_SIGNING) return simpleSigningBundle(layer.annotations, blob);
  if (layer.mediaType === ENVELOPE) return envelopeBundle(layer.annotations, blob);
  const parsed = parseStrictJson(blob);
  if (!parsed.ok) return refuse(parsed.reason === "json_malformed" ? "bundle_malformed" : parsed.reason);
  return isJsonObject(parsed.value) ? ok(parsed.value) : refuse("bundle_malformed");
}

/** What is asked for by digest is that or nothing. */
async function readByDigest(
  registry: RegistryReader,
  kind: "manifests" | "blobs",
  digest: string,
  accept: string,
  mostBytes: number,
): Promise<Result<Buffer, string>> {
  const answer = await registry.read({ path: `${kind}/${digest}`, accept, mostBytes });
  if (!answer.ok) return answer;
  if (answer.value === undefined) return refuse("registry_lacks_what_it_lists");
  const { body } = answer.value;
  const isIt = `sha256:${createHash("sha256").update(body).digest("hex")}` === digest;
  return isIt ? ok(body) : refuse("registry_digest_wrong");
}
