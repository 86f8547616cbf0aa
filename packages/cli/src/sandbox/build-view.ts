// SPDX-License-Identifier: Apache-2.0
/**
 * How does the entry program turn a fresh mount namespace into the sandbox's file system? (`util-linux` mode)
 *
 * The same view that bubblewrap builds from its arguments, with the same order of reasons: what stays is opened
 * first (O_PATH), then covered, then put back by binding the descriptor.
 */
import { closeSync, constants, mkdirSync, openSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { BASE_DEVICES } from "./filesystem-view.ts";
import { isInside } from "./mount-table.ts";
import { SYSCALL, systemCall } from "./native.ts";
import type { FilesystemView } from "./plan.ts";

const MS_RDONLY = 1;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MS_REMOUNT = 32;
const MS_BIND = 4096;
const MS_REC = 16384;

const O_PATH = 0o10000000;
const AT_RECURSIVE = 0x8000;
const MOUNT_ATTR_RDONLY = 1;
const MOUNT_ATTR_NOSUID = 2;
const MOUNT_ATTR_NODEV = 4;
const AT_FDCWD = -100;

export function buildView(view: FilesystemView): void {
  // No device node of any file system opens, wherever one was made; /dev below is mounted afterwards.
  setMountAttributes("/", MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);
  const runFolder =
    view.runFolder === undefined ? undefined : openSync(view.runFolder, O_PATH | constants.O_DIRECTORY);
  for (const folder of view.anchors) systemCall("mount", folder, folder, null, MS_BIND | MS_REC, null);
  buildDevices(view.devices);
  systemCall("mount", "proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, null);
  bindReadOnly("/sys", "/sys");
  for (const path of view.readOnly) bindReadOnly(path, path);
  for (const folder of view.hideFolders) mountEmpty(folder);
  for (const file of view.hideFiles) systemCall("mount", "/dev/null", file, null, MS_BIND, null);
  if (view.runFolder !== undefined && runFolder !== undefined) {
    if (view.hideFolders.some((folder) => isInside(view.runFolder!, folder))) {
      mkdirSync(view.runFolder, { recursive: true, mode: 0o700 });
    }
    bindReadOnly(`/proc/self/fd/${runFolder}`, view.runFolder);
    closeSync(runFolder);
  }
  for (const folder of view.hideFolders) {
    systemCall("mount", null, folder, null, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, null);
  }
}

const mountEmpty = (folder: string): number =>
  systemCall("mount", "tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64k");

function bindReadOnly(source: string, target: string): void {
  systemCall("mount", source, target, null, MS_BIND | MS_REC, null);
  setMountAttributes(target, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
}

/** `mount_setattr(2)` on the whole tree below `path`, which a bind remount cannot do. */
function setMountAttributes(path: string, attributes: number, cleared = 0): void {
  const structure = Buffer.alloc(32);
  structure.writeBigUInt64LE(BigInt(attributes), 0);
  structure.writeBigUInt64LE(BigInt(cleared), 8);
  systemCall(
    "mount_setattr",
    SYSCALL.mount_setattr,
    AT_FDCWD,
    path,
    AT_RECURSIVE,
    structure,
    structure.length,
  );
}

function buildDevices(computeDevices: readonly string[]): void {
  const kept = [...BASE_DEVICES.map((name) => join("/dev", name)), ...computeDevices].map((path) => ({
    path,
    descriptor: openSync(path, O_PATH),
  }));
  systemCall("mount", "tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=755");
  for (const { path, descriptor } of kept) {
    const source = `/proc/self/fd/${descriptor}`;
    makeMountPoint(source, path);
    systemCall("mount", source, path, null, MS_BIND | MS_REC, null);
    setMountAttributes(path, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV);
    closeSync(descriptor);
  }
  mkdirSync("/dev/pts");
  const terminals = "newinstance,ptmxmode=0666,mode=620";
  systemCall("mount", "devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, terminals);
  mkdirSync("/dev/shm", { mode: 0o1777 });
  systemCall("mount", "tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  symlinkSync("pts/ptmx", "/dev/ptmx");
  symlinkSync("/proc/self/fd", "/dev/fd");
  for (const [number, name] of ["stdin", "stdout", "stderr"].entries()) {
    symlinkSync(`/proc/self/fd/${number}`, join("/dev", name));
  }
}

/** Device folders (`/dev/dri`) need a folder to land on, everything else a file. */
function makeMountPoint(source: string, path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  try {
    closeSync(openSync(source + "/.", O_PATH | constants.O_DIRECTORY));
    mkdirSync(join(dirname(path), basename(path)));
  } catch {
    writeFileSync(path, "");
  }
}
