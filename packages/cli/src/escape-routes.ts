// SPDX-License-Identifier: Apache-2.0
/**
 * Sockets through which a program starts others outside its own sandbox, and which no agent needs: hidden always.
 *
 * Docker's and the like are left, since agents do use them; `postern doctor` names them.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";

export function escapeRoutes(environment: Readonly<Record<string, string | undefined>>): string[] {
  const uid = process.getuid?.() ?? 0;
  const runtime = environment["XDG_RUNTIME_DIR"] ?? `/run/user/${uid}`;
  return [
    join(runtime, "bus"), // systemd-run --user
    join(runtime, "systemd"),
    "/run/systemd/private",
    ...(uid === 0 ? ["/run/dbus/system_bus_socket"] : []), // others are asked for a password there
    ...folders(environment["TMUX_TMPDIR"] ?? "/tmp", /^tmux-\d+$/), // tmux send-keys
    ...folders("/run/screen", /^S-/),
  ];
}

function folders(parent: string, name: RegExp): string[] {
  try {
    return readdirSync(parent)
      .filter((each) => name.test(each))
      .map((each) => join(parent, each));
  } catch {
    return [];
  }
}
