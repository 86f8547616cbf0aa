// SPDX-License-Identifier: Apache-2.0
/**
 * In which container does a process run, as its control groups have it? Pure; a claim, not a proof.
 *
 * Whoever may make control groups of their own, as every user of systemd may, can give one the name of somebody else's
 * container: `attest-container.ts` compares with the groups of the process that the engine names.
 */
import { ok, refuse, type Result } from "../../kernel/result.ts";

export interface ContainerGroups {
  readonly id: string;
  /** Whose container it is by its name; undefined where the name does not say, as with cgroupfs. */
  readonly engine: "docker" | "podman" | undefined;
  /** Controllers of a line → path of the container's own group. Version 2 has one line, without controllers. */
  readonly roots: ReadonlyMap<string, string>;
}

/**
 * `/docker/ID`, `docker-ID.scope`, `libpod-ID.scope`, `libpod-ID`, below whatever parent. Groups of helpers such as
 * `libpod-conmon-ID.scope` are none of the container's.
 */
const SEGMENT = /^(docker-|libpod-|cri-containerd-|crio-)?([0-9a-f]{64})(?:\.scope)?$/;
const ENGINES: Readonly<Record<string, ContainerGroups["engine"]>> = {
  "docker-": "docker",
  "libpod-": "podman",
};

/**
 * Of `/proc/PID/cgroup`. Undefined where no line names a container; refused where lines name different ones. Of
 * containers in containers it is the outermost: the engine of this machine knows no other.
 */
export function containerOf(text: string): Result<ContainerGroups | undefined, string> {
  const roots = new Map<string, string>();
  let found: { readonly id: string; readonly engine: ContainerGroups["engine"] } | undefined;
  for (const line of text.split("\n")) {
    // `hierarchy:controllers:path`; a path starts with a slash and may hold colons.
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    const root = rootOf(path);
    if (root === undefined) continue;
    if (found !== undefined && found.id !== root.id)
      return refuse("the control groups of the caller name several containers");
    found = { id: root.id, engine: found?.engine ?? root.engine };
    roots.set(controllers, root.path);
  }
  return ok(found === undefined ? undefined : { ...found, roots });
}

function rootOf(path: string) {
  const segments = path.split("/");
  for (const [index, segment] of segments.entries()) {
    const [, prefix, id] = SEGMENT.exec(segment) ?? [];
    if (id === undefined) continue;
    const engine = prefix === undefined ? parentEngine(segments[index - 1]) : ENGINES[prefix];
    return { id, engine, path: segments.slice(0, index + 1).join("/") };
  }
  return undefined;
}

const parentEngine = (parent: string | undefined): ContainerGroups["engine"] =>
  parent === "docker" ? "docker" : parent === "libpod_parent" ? "podman" : undefined;

/** Whether both are in the same groups of the same container, in every hierarchy that either of them names. */
export const areSameGroups = (a: ContainerGroups, b: ContainerGroups): boolean =>
  a.id === b.id &&
  a.roots.size === b.roots.size &&
  [...a.roots].every(([controllers, path]) => b.roots.get(controllers) === path);
