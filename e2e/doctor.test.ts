// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Postern, startPostern } from "@postern/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

interface Report {
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[];
  readonly reachable: readonly { readonly path: string; readonly close: string }[];
}

describe("postern doctor", () => {
  let postern: Postern;
  let folder: string;
  let sockets: Server[];

  const examine = async (...words: string[]): Promise<{ code: number | null; report: Report }> => {
    const env = {
      SSH_AUTH_SOCK: join(folder, "ssh.sock"),
      DOCKER_HOST: `unix://${join(folder, "docker.sock")}`,
    };
    const result = await postern.postern(["doctor", "--json", ...words], { cwd: folder, env });
    return { code: result.code, report: JSON.parse(result.stdout) as Report };
  };

  beforeAll(async () => {
    postern = await startPostern();
    folder = mkdtempSync(join(tmpdir(), "postern-doctor-"));
    writeFileSync(join(folder, ".env"), "OPENAI_API_KEY=sk-forgotten\n");
    sockets = await Promise.all(
      ["ssh.sock", "docker.sock"].map(
        (name) =>
          new Promise<Server>((resolve) => {
            const server = createServer();
            server.listen(join(folder, name), () => resolve(server));
          }),
      ),
    );
  });

  afterAll(async () => {
    for (const server of sockets) server.close();
    await postern.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it("proves on a real set-up that the secret stays out of reach while the call succeeds", async () => {
    const { code, report } = await examine();
    expect(report.checks.filter(({ ok }) => !ok)).toEqual([]);
    expect(report.checks.map(({ name }) => name)).toContain("call succeeds");
    expect(report.checks.map(({ name }) => name)).toContain("server: audit_log");
    expect(report.checks.length).toBeGreaterThanOrEqual(9);
    expect(code).toBe(0);
  });

  it("names what else the agent could reach, and how to close it", async () => {
    const { report } = await examine();
    for (const name of [".env", "ssh.sock", "docker.sock"])
      expect(report.reachable).toContainEqual(
        expect.objectContaining({
          path: join(folder, name),
          close: `postern run --hide ${join(folder, name)}`,
        }),
      );
  });

  it("no longer names what --hide takes out of sight", async () => {
    const { report } = await examine("--hide", join(folder, ".env"), "--hide", join(folder, "docker.sock"));
    const paths = report.reachable.map(({ path }) => path);
    expect(paths).toContain(join(folder, "ssh.sock"));
    expect(paths).not.toContain(join(folder, ".env"));
    expect(paths).not.toContain(join(folder, "docker.sock"));
  });

  it("takes its canary and resources away again", async () => {
    await examine();
    const { stdout } = await postern.postern(["get", "--json"]);
    expect(JSON.parse(stdout)).toEqual({ resources: [] });
    expect(JSON.parse((await postern.postern(["secret", "list", "--json"])).stdout)).toEqual({ secrets: [] });
  });
});
