// SPDX-License-Identifier: Apache-2.0
/** Which command line makes bubblewrap build the sandbox? */
import type { FilesystemView } from "./plan.ts";

export interface BubblewrapIdentity {
  readonly uid: number;
  readonly gid: number;
}

/** Arguments of `bwrap`, without the program that it starts. */
export function bubblewrapArguments(view: FilesystemView, identity: BubblewrapIdentity): string[] {
  return [
    ...(identity.uid === 0
      ? // CAP_SETPCAP lets the entry program empty the bounding set, which bubblewrap leaves full for root.
        ["--cap-drop", "ALL", "--cap-add", "CAP_SETPCAP"]
      : [
          "--unshare-user",
          "--uid",
          String(identity.uid),
          "--gid",
          String(identity.gid),
          "--cap-drop",
          "ALL",
        ]),
    ...["--unshare-pid", "--unshare-net", "--unshare-ipc", "--die-with-parent"],
    ...["--bind", "/", "/", "--dev", "/dev"],
    ...view.devices.flatMap((device) => ["--dev-bind-try", device, device]),
    ...["--proc", "/proc", "--ro-bind", "/sys", "/sys"],
    ...view.readOnly.flatMap((path) => ["--ro-bind", path, path]),
    ...view.hideFolders.flatMap((folder) => ["--tmpfs", folder]),
    ...view.hideFiles.flatMap((file) => ["--dev-bind", "/dev/null", file]),
    ...(view.runFolder === undefined ? [] : ["--ro-bind", view.runFolder, view.runFolder]),
    ...view.hideFolders.flatMap((folder) => ["--remount-ro", folder]),
    "--",
  ];
}
