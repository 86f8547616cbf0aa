// SPDX-License-Identifier: Apache-2.0
/** What `postern run` trusts: the folder that the server holds, and the variables that the server gave. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Postern, startPostern } from "@postern/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const AGENT = `
kind: TrustProvider
metadata: { name: local }
spec: { kind: process }
---
kind: Agent
metadata: { name: a }
spec: { trustProvider: local, selectors: ["process:agent=a"] }
`;

describe("a run", () => {
  let parent: string;
  let postern: Postern;

  beforeAll(async () => {
    parent = mkdtempSync(join(tmpdir(), "postern-moved-"));
    mkdirSync(join(parent, "data"), { mode: 0o700 });
    postern = await startPostern({ folder: join(parent, "data") });
    await postern.apply(AGENT);
  });
  afterAll(async () => {
    await postern.stop();
    rmSync(parent, { recursive: true, force: true });
  });

  it("fills the gate's port into its own variables and leaves the user's alone", async () => {
    const script = 'printf "%s %s" "$MINE" "$POSTERN_GATE"';
    const { stdout } = await postern.postern(["run", "--", "sh", "-c", script], {
      env: { MINE: "keep {port}" },
    });
    expect(stdout).toMatch(/^keep \{port\} http:\/\/127\.0\.0\.1:\d+$/);
  });

  it("is refused when the data folder's path leads to another folder", async () => {
    const real = join(parent, "elsewhere");
    renameSync(join(parent, "data"), real);
    mkdirSync(join(parent, "data"), { mode: 0o700 });
    symlinkSync(join(real, "control.sock"), join(parent, "data", "control.sock"));
    try {
      const { code, stdout, stderr } = await postern.postern(["run", "--", "echo", "started"]);
      expect(code).toBe(1);
      expect(stdout).toBe("");
      expect(stderr).toContain("is no longer the folder that this server was started with");
    } finally {
      rmSync(join(parent, "data"), { recursive: true });
      renameSync(real, join(parent, "data"));
    }
    expect((await postern.postern(["run", "--", "echo", "started"])).stdout).toBe("started\n");
  });
});
