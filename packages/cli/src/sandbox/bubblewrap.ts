// SPDX-License-Identifier: Apache-2.0
/** Which command line makes bubblewrap build the sandbox? */
import type { FilesystemView } from "./plan.ts";

const NAMESPACES = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--die-with-parent"];

/** Arguments of `bwrap`, without the program that it starts. Later mounts cover earlier ones. */
export function bubblewrapArguments(
  view: FilesystemView,
  identity: { readonly uid: number; readonly gid: number },
  seccompDescriptor: number,
): string[] {
  return [
    // For its first process too, which the agent may trace: it is no more than the agent is.
    "--seccomp",
    String(seccompDescriptor),
    ...identityArguments(identity),
    ...NAMESPACES,
    ...mount("--bind", "/"),
    ...view.anchors.flatMap((folder) => mount("--bind", folder)),
    "--dev",
    "/dev",
    ...view.devices.flatMap((device) => mount("--dev-bind-try", device)),
    "--proc",
    "/proc",
    ...mount("--ro-bind", "/sys"),
    ...view.readOnly.flatMap((path) => mount("--ro-bind", path)),
    ...view.hideFolders.flatMap((folder) => ["--tmpfs", folder]),
    ...view.hideFiles.flatMap((file) => ["--dev-bind", "/dev/null", file]),
    ...(view.runFolder === undefined ? [] : mount("--ro-bind", view.runFolder)),
    ...view.hideFolders.flatMap((folder) => ["--remount-ro", folder]),
    "--",
  ];
}

const mount = (how: string, path: string): string[] => [how, path, path];

function identityArguments({ uid, gid }: { readonly uid: number; readonly gid: number }): string[] {
  // CAP_SETPCAP lets the entry program empty the bounding set, which bubblewrap leaves full for root.
  if (uid === 0) return ["--cap-drop", "ALL", "--cap-add", "CAP_SETPCAP"];
  return ["--unshare-user", "--uid", String(uid), "--gid", String(gid), "--cap-drop", "ALL"];
}
