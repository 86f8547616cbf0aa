// SPDX-License-Identifier: Apache-2.0
/** What must the sandbox hide, protect and keep, on this machine? */
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { aliasesOf, isInside, parseMountTable, strayKernelMounts, type Mount } from "./mount-table.ts";
import type { FilesystemView } from "./plan.ts";

/**
 * Places under /proc that uid 0 may write without any capability: `core_pattern` alone starts a program of the
 * writer's choice outside every sandbox. (Bubblewrap 0.8 leaves /proc/sys writable for root.)
 */
const PROC_READ_ONLY = [
  "acpi",
  "asound",
  "bus",
  "driver",
  "dynamic_debug",
  "fs",
  "irq",
  "mtrr",
  "scsi",
  "sys",
  "sysrq-trigger",
];

export const BASE_DEVICES = ["null", "zero", "full", "random", "urandom", "tty"];

/** Devices that agents compute with; they hold no data of others. */
const COMPUTE_DEVICES = /^(dri|kfd|kvm|nvidia.*)$/;

/** Everything to hide must exist now; what comes into being later is seen. Refuses what a sandbox cannot be without. */
export function planFilesystemView(
  hidePaths: readonly string[],
  runFolder?: string,
  readOnlyPaths: readonly string[] = [],
): { ok: true; value: FilesystemView } | { ok: false; reason: string } {
  const mounts = parseMountTable(readFileSync("/proc/self/mountinfo", "utf8"));
  const stray = strayKernelMounts(mounts);
  const hidden = withAliases(hidePaths, mounts);
  const forbidden = hidden.find((path) => ["/", "/proc", "/dev", "/sys"].includes(path));
  if (forbidden !== undefined) return { ok: false, reason: `${forbidden} cannot be hidden from the agent` };
  const all = outermost([...hidden, ...stray.hide]);
  const readOnly = [
    ...stray.readOnly,
    ...readOnlyPaths.filter((path) => existsSync(path)).map((path) => realpathSync(path)),
  ].filter((path) => !all.some((folder) => isInside(path, folder)));
  const given = [...hidePaths, ...readOnlyPaths, ...(runFolder === undefined ? [] : [runFolder])];
  return {
    ok: true,
    value: {
      anchors: foldersAbove([...given, ...all, ...readOnly], [...all, ...readOnly]),
      hideFolders: all.filter(isFolder),
      hideFiles: all.filter((path) => !isFolder(path)),
      readOnly: [
        ...PROC_READ_ONLY.map((name) => join("/proc", name)).filter((path) => existsSync(path)),
        ...readOnly,
      ],
      ...(runFolder === undefined ? {} : { runFolder: realpathSync(runFolder) }),
      devices: computeDevices(),
    },
  };
}

/** Real paths of everything to hide that exists, with the other places where bind mounts show it. */
function withAliases(paths: readonly string[], mounts: readonly Mount[]): string[] {
  const hidden = new Set<string>();
  for (const given of paths) {
    if (!existsSync(given)) continue;
    const path = realpathSync(given);
    const { dev, ino } = statSync(path);
    hidden.add(path);
    for (const alias of aliasesOf(path, mounts)) {
      const found = statSync(alias, { throwIfNoEntry: false });
      if (found?.dev === dev && found.ino === ino) hidden.add(alias);
    }
  }
  return [...hidden];
}

/**
 * Real paths of all folders above `paths`, outermost first, without those that are covered or read-only anyway.
 *
 * The folder that holds a symbolic link on the way is among them; the link itself can still be replaced, since
 * nothing can be mounted on it. The server and `control-client.ts` check what they
 * find there.
 */
function foldersAbove(paths: readonly string[], covered: readonly string[]): string[] {
  const found = new Set<string>();
  for (const path of paths.filter((each) => existsSync(each)))
    for (let folder = dirname(resolve(path)); folder !== "/"; folder = dirname(folder))
      found.add(realpathSync(folder));
  found.delete("/");
  const apart = ["/proc", "/sys", "/dev", ...covered];
  return [...found]
    .filter((folder) => !apart.some((other) => isInside(folder, other)))
    .toSorted((a, b) => a.split("/").length - b.split("/").length);
}

const isFolder = (path: string): boolean => statSync(path).isDirectory();

const outermost = (paths: readonly string[]): string[] =>
  [...new Set(paths)].filter((path) => !paths.some((other) => other !== path && isInside(path, other)));

function computeDevices(): string[] {
  return readdirSync("/dev")
    .filter((name) => COMPUTE_DEVICES.test(name))
    .map((name) => join("/dev", name));
}
