// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { escapeRoutes } from "./escape-routes.ts";

describe("sockets that lead out of the sandbox", () => {
  let folder: string;
  const uid = process.getuid!();

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "postern-routes-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("are those of the session's bus and systemd, wherever the session is", () => {
    const routes = escapeRoutes({ XDG_RUNTIME_DIR: folder });
    expect(routes).toContain(join(folder, "bus"));
    expect(routes).toContain(join(folder, "systemd"));
  });

  it("are tmux's of every user, and the own folder even before tmux is started", () => {
    mkdirSync(join(folder, "tmux-4242"));
    const routes = escapeRoutes({ TMUX_TMPDIR: folder });
    expect(existsSync(join(folder, `tmux-${uid}`))).toBe(true);
    expect(routes).toContain(join(folder, `tmux-${uid}`));
    expect(routes).toContain(join(folder, "tmux-4242"));
  });

  it("are those that variables name, and never a relative path or the root", () => {
    const routes = escapeRoutes({
      TMUX: `${folder}/work.sock,77,0`,
      SCREENDIR: join(folder, "screens"),
      DBUS_SESSION_BUS_ADDRESS: `tcp:host=x;unix:path=${folder}/bus1,guid=1;unix:path=relative`,
    });
    for (const name of ["work.sock", "screens", "bus1"]) expect(routes).toContain(join(folder, name));
    expect(routes).not.toContain("relative");
    expect(escapeRoutes({ SCREENDIR: "/" })).not.toContain("/");
  });
});
