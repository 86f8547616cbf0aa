// SPDX-License-Identifier: Apache-2.0
/** Do control groups, and pods as an API server shows them, name only the container and the images that are in them? */
import { areSameGroups, containerOf } from "../../packages/server/src/attestation/container/container-of.ts";
import { podFacts, podImages } from "../../packages/server/src/attestation/kubernetes/pod-facts.ts";
import { isJsonObject, parseStrictJson } from "../../packages/identity/src/jwt/strict-json.ts";
import { demand, demandEqual, type FuzzTarget } from "../target.ts";

const ID = "3f".repeat(32);
const DIGEST = `registry.example/agent@sha256:${"4e".repeat(32)}`;
const GROUPS = [
  `0::/system.slice/docker-${ID}.scope\n`,
  `0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${ID}.scope/container\n`,
  `12:pids:/docker/${ID}\n11:cpu,cpuacct:/docker/${ID}\n0::/\n`,
  `0::/machine.slice/libpod-conmon-${ID}.scope\n`,
];
const POD = JSON.stringify({
  metadata: {
    name: "a",
    uid: "u",
    labels: { app: "x" },
    ownerReferences: [{ kind: "Job", name: "j", controller: true }],
  },
  spec: { containers: [{ name: "a" }], initContainers: [{ name: "i" }] },
  status: {
    containerStatuses: [{ name: "a", imageID: DIGEST }],
    initContainerStatuses: [{ name: "i", imageID: DIGEST.replace("4e", "5f") }],
  },
});

function check(input: Buffer): void {
  checkGroups(input.toString("latin1"));
  const json = parseStrictJson(input);
  if (json.ok && isJsonObject(json.value)) checkPod(json.value);
}

/** Found by another way than the reader's: the ID stands in a line as a whole segment, with nothing above it that is one. */
function checkGroups(text: string): void {
  const found = containerOf(text);
  if (!found.ok || found.value === undefined) return;
  const { id, roots } = found.value;
  demand(/^[0-9a-f]{64}$/.test(id), "an ID of another form");
  demand(roots.size > 0, "a container in no group");
  const lines = text.split("\n");
  for (const [controllers, path] of roots) {
    demand(
      lines.some((line) => {
        const rest = line.slice(line.indexOf(":") + 1);
        return rest === `${controllers}:${path}` || rest.startsWith(`${controllers}:${path}/`);
      }),
      "a group that no line names",
    );
    const [last = "", ...above] = path.split("/").toReversed();
    demand(last.includes(id), "a group without the ID");
    demand(
      !above.some((each) => /^(docker-|libpod-)?[0-9a-f]{64}(\.scope)?$/.test(each)),
      "not the outermost",
    );
  }
  demand(areSameGroups(found.value, found.value), "not in its own groups");
  const spoofed = containerOf(text.replaceAll(":/", ":/user.slice/"));
  if (spoofed.ok && spoofed.value !== undefined)
    demand(!areSameGroups(found.value, spoofed.value), "groups of a user with the same name");
}

/** Every image that counts has a digest, and where one container has none, none of them is known. */
function checkPod(pod: Readonly<Record<string, unknown>>): void {
  const facts = podFacts(pod);
  for (const image of [facts["pod-image"] ?? []].flat())
    demand(/@sha256:[0-9a-f]{64}$/.test(image), "an image without a digest");
  for (const label of [facts["pod-label"] ?? []].flat())
    demand(/^[A-Za-z0-9._/-]+=/.test(label), "a label that reads in two ways");
  const images = podImages(pod);
  if (images === undefined) return;
  const named = (list: unknown): unknown[] => (Array.isArray(list) ? list.filter(isJsonObject) : []);
  const spec = isJsonObject(pod["spec"]) ? pod["spec"] : {};
  const containers = ["containers", "initContainers", "ephemeralContainers"].flatMap((list) =>
    named(spec[list]),
  );
  demand(containers.length > 0 && images.length > 0, "images of no container");
  demand(images.length <= containers.length, "more images than containers");
  demandEqual(
    images.filter((image) => ![facts["pod-image"] ?? []].flat().includes(image)),
    [],
    "images that the facts do not have",
  );
}

const target: FuzzTarget = {
  parsers: [
    "packages/server/src/attestation/container/container-of.ts",
    "packages/server/src/attestation/kubernetes/pod-facts.ts",
  ],
  property:
    "A container is named only by a whole segment of a group, the outermost, and a user's group of that name is another one; images are known of all containers of a pod or of none, each by digest.",
  words: [
    ...[...GROUPS, POD, ID, DIGEST, "docker-", "libpod-", ".scope", "/docker/", "0::/", "1:name=systemd:/"],
    ...[
      '"imageID":"',
      '"name":"a"',
      '"containers":[',
      '"ephemeralContainers":[{"name":"d"}]',
      "docker-pullable://",
    ],
  ],
  make: (choose) => choose.pick([...GROUPS, POD]),
  check,
};
export default target;
