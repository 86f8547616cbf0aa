// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import { podImages } from "./pod-facts.ts";

const digest = (letter: string): string => `registry.example/app@sha256:${letter.repeat(64)}`;
const status = (name: string, imageID: string) => ({ name, imageID });
const pod = (change: { spec?: object; status?: object }) => ({
  spec: { containers: [{ name: "agent" }], ...change.spec },
  status: { containerStatuses: [status("agent", digest("a"))], ...change.status },
});
const withInit = { initContainers: [{ name: "first" }] };
const withDebugging = { ephemeralContainers: [{ name: "look" }] };

describe("the images of a pod", () => {
  test("are those of every container, however it runs, each once", () => {
    const images = podImages(
      pod({
        spec: { containers: [{ name: "agent" }, { name: "again" }], ...withInit, ...withDebugging },
        status: {
          containerStatuses: [
            status("again", digest("a")),
            status("agent", `docker-pullable://${digest("a")}`),
          ],
          initContainerStatuses: [status("first", digest("b"))],
          ephemeralContainerStatuses: [status("look", digest("c"))],
        },
      }),
    );
    expect(images).toEqual([digest("a"), digest("b"), digest("c")]);
  });

  test.each<[string, object]>([
    ["a container waits to be started", pod({ spec: withDebugging })],
    ["an init container has no status yet", pod({ spec: withInit })],
    ["there are no containers", pod({ spec: { containers: [] } })],
    [
      "an image was never in a registry",
      pod({ status: { containerStatuses: [status("agent", "sha256:aa")] } }),
    ],
    [
      "an image is told by its tag",
      pod({ status: { containerStatuses: [status("agent", "registry.example/app:1")] } }),
    ],
    ["a container has no image", pod({ status: { containerStatuses: [status("agent", "")] } })],
    [
      "one container is told of twice",
      pod({ status: { containerStatuses: [status("agent", digest("a")), status("agent", digest("b"))] } }),
    ],
    [
      "a status is of another list",
      pod({
        spec: withInit,
        status: { containerStatuses: [status("agent", digest("a")), status("first", digest("b"))] },
      }),
    ],
    ["there is nothing at all", {}],
  ])("are not known where %s", (_, object) => {
    expect(podImages(object as Record<string, unknown>)).toBeUndefined();
  });
});
