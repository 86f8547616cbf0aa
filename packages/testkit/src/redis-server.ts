// SPDX-License-Identifier: Apache-2.0
/** A real Redis or Valkey server of Debian's package, on a folder of its own, that can be killed and started again. */
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noteSecret, searchForLeaks } from "./leak-search.ts";

const PROGRAMS = ["/usr/bin/valkey-server", "/usr/bin/redis-server"];

const findProgram = (): string | undefined => PROGRAMS.find((path) => existsSync(path));

/** For `describe.skipIf(!hasRedis())`: where POSTERN_REQUIRE_REDIS=1 is set, missing is a failure. */
export function hasRedis(): boolean {
  if (findProgram() !== undefined) return true;
  if (process.env["POSTERN_REQUIRE_REDIS"] === "1")
    throw new Error("POSTERN_REQUIRE_REDIS=1, but there is no Redis: apt-get install redis-server");
  return false;
}

export interface RedisServer {
  readonly port: number;
  readonly password: string;
  /** URL of the next of its databases, empty, with the password. */
  freshUrl(): string;
  /** Stops it from answering until it is told to go on; connections stay. */
  pause(): void;
  goOn(): void;
  /** Ends it with SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again on the same folder and port. */
  start(): Promise<void>;
  remove(): Promise<void>;
}

/** `settings` as in its configuration file, such as `["--appendonly", "no"]`. */
export async function startRedis(settings: readonly string[] = []): Promise<RedisServer> {
  const program = findProgram();
  if (program === undefined) throw new Error("there is no Redis on this machine");
  const server = new DebianRedis(program, await freePort(), settings);
  try {
    await server.start();
  } catch (error) {
    await server.remove();
    throw error;
  }
  return server;
}

class DebianRedis implements RedisServer {
  readonly port: number;
  readonly password = randomBytes(12).toString("hex");
  readonly #program: string;
  readonly #settings: readonly string[];
  readonly #folder = mkdtempSync(join(tmpdir(), "postern-redis-"));
  #process: ChildProcess | undefined;
  #databases = 0;

  constructor(program: string, port: number, settings: readonly string[]) {
    [this.#program, this.port, this.#settings] = [program, port, settings];
    noteSecret("redis-password", this.password);
  }

  freshUrl(): string {
    return `redis://:${this.password}@127.0.0.1:${this.port}/${this.#databases++}`;
  }

  async start(): Promise<void> {
    // Settings come over standard input, so that the password is on no command line.
    const server = spawn(this.#program, ["-"], { cwd: this.#folder, stdio: ["pipe", "pipe", "pipe"] });
    this.#process = server;
    const lines = [
      `bind 127.0.0.1`,
      `port ${this.port}`,
      `dir ${this.#folder}`,
      `requirepass ${this.password}`,
      "databases 64",
      "save ''",
      "appendonly yes",
      ...this.#settings,
    ];
    server.stdin.end(`${lines.join("\n")}\n`);
    await new Promise<void>((resolve, reject) => {
      let said = "";
      server.stdout.on("data", (text: Buffer) => {
        said = (said + text.toString()).slice(-4000);
        if (said.includes("eady to accept connections")) resolve();
      });
      server.once("exit", () => reject(new Error(`Redis ended: ${said}`)));
      server.once("error", reject);
    });
  }

  pause(): void {
    this.#process?.kill("SIGSTOP");
  }

  goOn(): void {
    this.#process?.kill("SIGCONT");
  }

  async kill(): Promise<void> {
    const server = this.#process;
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const exited = once(server, "exit");
    server.kill("SIGKILL");
    await exited;
  }

  async remove(): Promise<void> {
    await this.kill();
    await searchForLeaks({ folders: [this.#folder], texts: {} }).finally(() =>
      rmSync(this.#folder, { recursive: true, force: true }),
    );
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
