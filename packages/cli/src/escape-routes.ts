// SPDX-License-Identifier: Apache-2.0
/**
 * Sockets through which a program starts others outside its own sandbox, and which no agent needs: hidden always.
 *
 * Docker's and the like are left, since agents do use them; `postern doctor` names them.
 */
import { lstatSync, mkdirSync, readdirSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";

/** Name the way to what is hidden here; of no use to an agent. */
export const ESCAPE_VARIABLES = ["TMUX", "TMUX_PANE", "STY", "DBUS_SESSION_BUS_ADDRESS"];

export function escapeRoutes(environment: Readonly<Record<string, string | undefined>>): string[] {
  const uid = process.getuid?.() ?? 0;
  const runtime = environment["XDG_RUNTIME_DIR"] ?? `/run/user/${uid}`;
  return [
    join(runtime, "bus"), // systemd-run --user
    join(runtime, "systemd"),
    "/run/systemd/private",
    ...(uid === 0 ? ["/run/dbus/system_bus_socket"] : []), // others are asked for a password there
    ...tmuxFolders("/tmp", uid), // tmux send-keys
    ...tmuxFolders(environment["TMUX_TMPDIR"] ?? "/tmp", uid),
    ...absolute(environment["TMUX"]?.split(",")[0]),
    "/run/screen",
    ...absolute(environment["SCREENDIR"]),
    ...[...(environment["DBUS_SESSION_BUS_ADDRESS"] ?? "").matchAll(/unix:path=([^,;]+)/g)].flatMap(
      ([, path]) => absolute(path),
    ),
  ];
}

const absolute = (path: string | undefined): string[] =>
  path !== undefined && isAbsolute(path) && dirname(path) !== path ? [path] : [];

/** The user's own is made where it is missing, as tmux would: what comes into being in it later is covered then. */
function tmuxFolders(parent: string, uid: number): string[] {
  const own = join(parent, `tmux-${uid}`);
  try {
    mkdirSync(own, { mode: 0o700 });
  } catch {
    // There already, or cannot be made: then tmux cannot make it either.
  }
  return [...new Set([own, ...folders(parent, /^tmux-\d+$/)])].filter((path) => isFolder(path));
}

const isFolder = (path: string): boolean =>
  lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

function folders(parent: string, name: RegExp): string[] {
  try {
    return readdirSync(parent)
      .filter((each) => name.test(each))
      .map((each) => join(parent, each));
  } catch {
    return [];
  }
}
