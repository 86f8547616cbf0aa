// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { areSameGroups, type ContainerGroups, containerOf } from "./container-of.ts";

const ID = "3f".repeat(32);
const OTHER = "a0".repeat(32);

const found = (text: string): ContainerGroups | undefined => {
  const container = containerOf(text);
  if (!container.ok) throw new Error(container.reason);
  return container.value;
};

describe("no container is named by", () => {
  it.each([
    ["a process of the machine", "0::/user.slice/user-1000.slice/session-2.scope\n"],
    ["a monitor of Podman beside the container", `0::/machine.slice/libpod-conmon-${ID}.scope\n`],
    ["an id that is too short", `0::/docker/${ID.slice(1)}\n`],
    ["an id that is too long", `0::/docker/${ID}0\n`],
    ["an id in capitals", `0::/docker/${ID.toUpperCase()}\n`],
    ["an id that is part of a name", `0::/user.slice/docker-${ID}.scope.d\n`],
    ["a line that only looks like one", `docker/${ID}\n`],
    ["a carriage return before the line", `0::/a\r1:name=systemd:/docker/${ID}\n`],
    ["a path without its root", `1::${ID}\n`],
    ["nothing", ""],
  ])("%s", (_, text) => {
    expect(found(text)).toBeUndefined();
  });
});

it("refuses groups that name different containers", () => {
  expect(containerOf(`2:pids:/docker/${ID}\n1:cpu:/docker/${OTHER}\n0::/\n`)).toMatchObject({ ok: false });
});

describe("the container is named by", () => {
  it.each([
    ["Docker on version 2 with systemd", `0::/system.slice/docker-${ID}.scope\n`, "docker"],
    ["Docker on version 2 without systemd", `0::/docker/${ID}\n`, "docker"],
    ["Docker below a parent of its own", `0::/my-parent/${ID}\n`, undefined],
    [
      "rootless Docker",
      `0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-${ID}.scope\n`,
      "docker",
    ],
    [
      "systemd inside a container",
      `0::/system.slice/docker-${ID}.scope/system.slice/agent.service\n`,
      "docker",
    ],
    ["Podman with systemd", `0::/machine.slice/libpod-${ID}.scope/container\n`, "podman"],
    ["Podman without systemd", `0::/libpod_parent/libpod-${ID}\n`, "podman"],
    [
      "rootless Podman",
      `0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${ID}.scope/container\n`,
      "podman",
    ],
    ["a server with control groups of its own", `0::/../docker-${ID}.scope\n`, "docker"],
    [
      "a pod of Kubernetes on Docker",
      `0::/kubepods.slice/kubepods-pod1.slice/docker-${ID}.scope\n`,
      "docker",
    ],
    ["a pod without systemd", `0::/kubepods/burstable/pod11-22/${ID}\n`, undefined],
    ["a name with a colon above it", `0::/a:b/docker/${ID}\n`, "docker"],
  ])("%s", (_, text, engine) => {
    expect(found(text)).toMatchObject({ id: ID, engine });
  });

  it("version 1 with many hierarchies, of which some name nothing", () => {
    const container = found(
      `12:pids:/docker/${ID}\n3:cpu,cpuacct:/docker/${ID}/inner\n1:name=systemd:/\n0::/\n`,
    );
    expect(container?.id).toBe(ID);
    expect([...container!.roots]).toEqual([
      ["pids", `/docker/${ID}`],
      ["cpu,cpuacct", `/docker/${ID}`],
    ]);
  });

  it("the outer one of two", () => {
    expect(found(`0::/docker/${ID}/docker/${OTHER}\n`)?.id).toBe(ID);
  });
});

describe("two processes are in the same groups", () => {
  const same = (a: string, b: string): boolean => areSameGroups(found(a)!, found(b)!);

  it("not where a user has made a group with the name of the container", () => {
    const real = `0::/system.slice/docker-${ID}.scope\n`;
    expect(same(real, `0::/user.slice/user-1000.slice/user@1000.service/docker-${ID}.scope\n`)).toBe(false);
    expect(same(real, `0::/system.slice/docker-${OTHER}.scope\n`)).toBe(false);
  });

  it("not where one of them is in fewer hierarchies", () => {
    expect(same(`2:pids:/docker/${ID}\n1:cpu:/docker/${ID}\n`, `2:pids:/docker/${ID}\n1:cpu:/\n`)).toBe(
      false,
    );
  });

  it("where one is in a group inside", () => {
    expect(same(`0::/docker/${ID}\n`, `0::/docker/${ID}/init.scope\n`)).toBe(true);
  });
});
