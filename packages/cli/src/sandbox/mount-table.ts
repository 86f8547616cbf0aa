// SPDX-License-Identifier: Apache-2.0
/** Which mounts are there, and at which other places does a folder show up through them? (`proc(5)`, mountinfo) */

export interface Mount {
  /** `major:minor` of the file system. */
  readonly device: string;
  /** Folder of that file system which is mounted. */
  readonly root: string;
  readonly mountPoint: string;
  readonly type: string;
}

/** Parses `/proc/self/mountinfo`; lines that do not have its form are left out. */
export function parseMountTable(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split("\n")) {
    const fields = line.split(" ");
    const separator = fields.indexOf("-", 6);
    const [, , device, root, mountPoint] = fields;
    const type = fields[separator + 1];
    if (separator < 0 || !device || !root || !mountPoint || !type) continue;
    mounts.push({ device, root: unescapeOctal(root), mountPoint: unescapeOctal(mountPoint), type });
  }
  return mounts;
}

/** Space, tab, newline and backslash are written as `\040` and so on. */
function unescapeOctal(text: string): string {
  const bytes = Buffer.from(text, "utf8");
  const out: number[] = [];
  for (let i = 0; i < bytes.length; i++) {
    const octal = bytes[i] === 0x5c ? bytes.toString("latin1", i + 1, i + 4) : "";
    if (/^[0-3][0-7]{2}$/.test(octal)) {
      out.push(Number.parseInt(octal, 8));
      i += 3;
    } else out.push(bytes[i]!);
  }
  return Buffer.from(out).toString("utf8");
}

export const isInside = (path: string, folder: string): boolean =>
  path === folder || folder === "/" || path.startsWith(folder + "/");

/** The mount that a path lies on: the longest mount point above it; of equal ones the last covers the others. */
export function mountOf(path: string, mounts: readonly Mount[]): Mount | undefined {
  let best: Mount | undefined;
  for (const mount of mounts) {
    if (!isInside(path, mount.mountPoint)) continue;
    if (best === undefined || mount.mountPoint.length >= best.mountPoint.length) best = mount;
  }
  return best;
}

/**
 * Other paths under which bind mounts show the same file or folder.
 *
 * Hiding a folder covers one place in the tree; a bind mount of it or of a folder above it would still show it.
 */
export function aliasesOf(path: string, mounts: readonly Mount[]): string[] {
  const own = mountOf(path, mounts);
  if (own === undefined) return [];
  const inside = join(own.root, path.slice(own.mountPoint === "/" ? 0 : own.mountPoint.length));
  const aliases: string[] = [];
  for (const mount of mounts) {
    if (mount.device !== own.device || !isInside(inside, mount.root)) continue;
    const alias = join(mount.mountPoint, inside.slice(mount.root === "/" ? 0 : mount.root.length));
    if (alias !== path && !aliases.includes(alias)) aliases.push(alias);
  }
  return aliases;
}

function join(head: string, tail: string): string {
  if (tail === "" || tail === "/") return head;
  return (head === "/" ? "" : head) + (tail.startsWith("/") ? tail : "/" + tail);
}

const usual = (path: string): boolean => ["/proc", "/sys", "/dev"].some((folder) => isInside(path, folder));

/** Kernel interfaces mounted at unusual places (a prepared chroot, a test folder) that would undo the sandbox. */
export function strayKernelMounts(mounts: readonly Mount[]): { hide: string[]; readOnly: string[] } {
  const stray = mounts.filter((mount) => !usual(mount.mountPoint));
  const at = (types: readonly string[]) =>
    stray.filter((mount) => types.includes(mount.type)).map((mount) => mount.mountPoint);
  return {
    // Another /proc shows the outside's processes; another /dev or devpts its devices and terminals.
    hide: at(["proc", "devtmpfs", "devpts"]),
    // Writable by uid 0 even without capabilities: release_agent, uevent_helper, debug switches.
    readOnly: at([
      "sysfs",
      "cgroup",
      "cgroup2",
      "debugfs",
      "tracefs",
      "securityfs",
      "configfs",
      "bpf",
      "efivarfs",
      "binfmt_misc",
    ]),
  };
}
