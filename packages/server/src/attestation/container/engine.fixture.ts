// SPDX-License-Identifier: Apache-2.0
/** An engine's API on a Unix socket, as a test has set it up: real HTTP, answers in the form of the Docker Engine API. */
import { createServer, type Server, type ServerResponse } from "node:http";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const IMAGE = `sha256:${"11".repeat(32)}`;
export const DIGEST = `sha256:${"22".repeat(32)}`;

/** `ContainerInspectResponse`, with members that nobody asks for. */
export const inspected = (id: string, pid: number, more: Readonly<Record<string, unknown>> = {}): object => ({
  Id: id,
  Created: "2026-11-20T10:00:00.123456789Z",
  Path: "/agent",
  Args: [],
  State: {
    ...{ Status: "running", Running: true, Paused: false, Restarting: false, Dead: false },
    ...{ Pid: pid, ExitCode: 0, StartedAt: "2026-11-20T10:00:01.000000001Z" },
  },
  Image: IMAGE,
  Name: "/quiet_fox",
  HostConfig: { NetworkMode: "bridge", CgroupnsMode: "private" },
  Config: {
    ...{ Hostname: "3f3f3f3f3f3f", Env: ["PATH=/usr/bin"], Image: "registry.corp/agent:1.4" },
    Labels: { "com.corp.team": "support", "with=equals": "x" },
  },
  ...more,
});

export class FakeEngine {
  readonly folder = mkdtempSync(join(tmpdir(), "postern-engine-"));
  readonly socket = join(this.folder, "docker.sock");
  /** Path → what is answered; a function writes the answer itself. */
  readonly answers = new Map<string, object | ((response: ServerResponse) => void)>();
  readonly asked: string[] = [];
  #server: Server | undefined;

  async start(): Promise<void> {
    this.#server = createServer((request, response) => {
      const path = request.url ?? "";
      this.asked.push(`${request.method} ${path}`);
      const answer = this.answers.get(path);
      if (typeof answer === "function") return answer(response);
      response.writeHead(answer === undefined ? 404 : 200, {
        "api-version": "1.51",
        "content-type": "application/json",
        server: "Docker/28.2.2 (linux)",
      });
      response.end(`${JSON.stringify(answer ?? { message: `No such container: ${path}` })}\n`);
    });
    this.#server.listen(this.socket);
    await once(this.#server, "listening");
  }

  has(id: string, container: object): this {
    this.answers.set(`/containers/${id}/json`, container);
    this.answers.set(`/images/${IMAGE}/json`, {
      Id: IMAGE,
      RepoTags: ["registry.corp/agent:1.4"],
      RepoDigests: [`registry.corp/agent@${DIGEST}`, `mirror.corp/agent@${DIGEST}`],
    });
    return this;
  }

  /** The socket stays, as after a crash. */
  stop(): void {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }

  remove(): void {
    this.stop();
    rmSync(this.folder, { recursive: true });
  }
}
