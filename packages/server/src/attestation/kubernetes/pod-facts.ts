// SPDX-License-Identifier: Apache-2.0
/**
 * What is a pod, as the API server shows it: labels, owner, and the images that run in it?
 *
 * An image is told by its digest only, as the kubelet has it; a tag can lead to something else tomorrow. A token belongs
 * to the pod, so the facts say which images are in it, and how many containers there are, not which one presents it.
 */
import { isJsonObject, memberOf } from "@postern/identity/jwt/strict-json";
import { claimText } from "../token/read-claims.ts";
import type { Facts } from "../trust-provider.ts";

type Json = Readonly<Record<string, unknown>>;

const MOST_LABELS = 100;
const DIGEST = /@(sha256:[0-9a-f]{64})$/;

export function podFacts(pod: Json): Facts {
  const owner = objectsAt(pod, "metadata", "ownerReferences").find((one) => one["controller"] === true);
  const images = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"]
    .flatMap((list) => objectsAt(pod, "status", list))
    .flatMap((status) => claimText(status, "imageID")?.replace(/^docker-pullable:\/\//, "") ?? [])
    .filter((image) => DIGEST.test(image));
  const containers = ["containers", "initContainers", "ephemeralContainers"].flatMap((list) =>
    objectsAt(pod, "spec", list),
  );
  return {
    "pod-label": labelsOf(pod),
    "pod-owner": owner && `${claimText(owner, "kind")}/${claimText(owner, "name")}`,
    "pod-owner-uid": owner && claimText(owner, "uid"),
    "pod-image": [...new Set(images)],
    "pod-image-digest": [...new Set(images.map((image) => DIGEST.exec(image)![1]!))],
    "pod-image-count": String(containers.length),
  };
}

/**
 * The image of every container, init containers and debugging ones too: each of them can read the token. Undefined where
 * one has no digest, because it waits to be started or because the image was never in a registry.
 */
export function podImages(pod: Json): string[] | undefined {
  const images = (["containers", "initContainers", "ephemeralContainers"] as const).flatMap((list) => {
    const statuses = objectsAt(pod, "status", STATUS_LISTS[list]);
    return objectsAt(pod, "spec", list).map(({ name }) =>
      imageOf(statuses.filter((status) => typeof name === "string" && status["name"] === name)),
    );
  });
  return images.every((image) => image !== undefined) && images.length > 0 ? [...new Set(images)] : undefined;
}

const STATUS_LISTS = {
  containers: "containerStatuses",
  initContainers: "initContainerStatuses",
  ephemeralContainers: "ephemeralContainerStatuses",
} as const;

function imageOf([status, ...others]: readonly Json[]): string | undefined {
  const image = status && others.length === 0 ? claimText(status, "imageID") : undefined;
  const name = image?.replace(/^docker-pullable:\/\//, "");
  return name !== undefined && DIGEST.test(name) ? name : undefined;
}

/** `key=value`; a key that holds an equals sign, which the API server refuses, would be read in two ways. */
function labelsOf(pod: Json): string[] {
  const metadata = memberOf(pod, "metadata");
  const labels = isJsonObject(metadata) ? memberOf(metadata, "labels") : undefined;
  if (!isJsonObject(labels)) return [];
  return Object.entries(labels)
    .slice(0, MOST_LABELS)
    .filter(([key, value]) => typeof value === "string" && /^[A-Za-z0-9._/-]{1,317}$/.test(key))
    .map(([key, value]) => `${key}=${String(value)}`);
}

function objectsAt(pod: Json, part: string, list: string): Json[] {
  const around = memberOf(pod, part);
  const found = isJsonObject(around) ? memberOf(around, list) : undefined;
  return Array.isArray(found) ? found.filter(isJsonObject) : [];
}
