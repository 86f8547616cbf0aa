// SPDX-License-Identifier: Apache-2.0
/**
 * An agent with every capability of a user namespace that it made itself, trying to see a hidden folder.
 *
 * Prints a JSON object: attempt → "" where it got through (with what it saw), else the error's name.
 */
import { readdirSync } from "node:fs";
import { basename, dirname } from "node:path";
import koffi from "koffi";

const [, , folder = "/nonexistent"] = process.argv;
const libc = koffi.load(null);
const mount = libc.func("mount", "int", ["str", "str", "str", "ulong", "str"]);
const umount2 = libc.func("umount2", "int", ["str", "int"]);
const openTree = libc.func("syscall", "int", ["long", "int", "str", "uint32"]);

const BIND = 4096;
const RECURSIVE = 16384;
const MOVE = 8192;
const REMOUNT = 32;
const DETACH = 2;
const OPEN_TREE = 428;
const AT_FDCWD = -100;
const CLONE_AND_CLOEXEC = 1 | 0o2000000;
const AT_RECURSIVE = 0x8000;
/** A folder that every system has; covering it harms nobody else in a mount namespace of one's own. */
const STAGE = "/srv";

const outcome = (result: number) =>
  result < 0
    ? (Object.entries(koffi.os.errno).find(([, number]) => number === koffi.errno())?.[0] ?? "?")
    : "done";
const look = (path: string) => {
  try {
    return readdirSync(path, { recursive: true }).join(",");
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
};
/** What shows at `path` after a mount that worked. */
const after = (result: number, path: string) => (result < 0 ? outcome(result) : `done:${look(path)}`);

const parent = dirname(folder);
const attempts: Record<string, string> = {
  canMount: outcome(mount("t", "/mnt", "tmpfs", 0, null)),
  umount: outcome(umount2(folder, 0)),
  umountLazily: outcome(umount2(folder, DETACH)),
  bindRoot: after(mount("/", STAGE, null, BIND, null), STAGE + folder),
  bindParent: after(mount(parent, STAGE, null, BIND, null), `${STAGE}/${basename(folder)}`),
  moveAway: outcome(mount(folder, STAGE, null, MOVE, null)),
  remountWritable: outcome(mount(null, folder, null, REMOUNT | BIND, null)),
  openTree: outcome(openTree(OPEN_TREE, AT_FDCWD, "/", CLONE_AND_CLOEXEC)),
  openTreeOfParent: outcome(openTree(OPEN_TREE, AT_FDCWD, parent, CLONE_AND_CLOEXEC)),
  overlay: after(mount("o", STAGE, "overlay", 0, "lowerdir=/:/etc"), STAGE + folder),
  overlayOfParent: after(
    mount("o", STAGE, "overlay", 0, `lowerdir=${parent}:/etc`),
    `${STAGE}/${basename(folder)}`,
  ),
  kernelSettingsWritable: outcome(mount(null, "/proc/sys", null, REMOUNT | BIND, null)),
};
const clone = openTree(OPEN_TREE, AT_FDCWD, "/", CLONE_AND_CLOEXEC | AT_RECURSIVE);
attempts.openTreeRecursive = clone < 0 ? outcome(clone) : `done:${look(`/proc/self/fd/${clone}${folder}`)}`;
const everything = mount("/", STAGE, null, BIND | RECURSIVE, null);
attempts.bindEverything = after(everything, STAGE + folder);
attempts.umountInCopy = outcome(umount2(STAGE + folder, DETACH));
process.stdout.write(JSON.stringify(attempts) + "\n");
