// SPDX-License-Identifier: Apache-2.0
/** A real PostgreSQL server of Debian's package, on a folder of its own, that can be killed and started again. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { searchForLeaks } from "./leak-search.ts";

const PACKAGES = "/usr/lib/postgresql";

/** The newest installed version; undefined where there is none. */
function findBinaries(): string | undefined {
  if (!existsSync(PACKAGES)) return undefined;
  const versions = readdirSync(PACKAGES).toSorted((a, b) => Number(b) - Number(a));
  return versions
    .map((version) => join(PACKAGES, version, "bin"))
    .find((folder) => existsSync(join(folder, "initdb")));
}

/** For `describe.skipIf(!hasPostgres())`: where POSTERN_REQUIRE_POSTGRES=1 is set, missing is a failure. */
export function hasPostgres(): boolean {
  if (findBinaries() !== undefined) return true;
  if (process.env["POSTERN_REQUIRE_POSTGRES"] === "1")
    throw new Error("POSTERN_REQUIRE_POSTGRES=1, but there is no PostgreSQL: apt-get install postgresql");
  return false;
}

export interface PostgresServer {
  readonly port: number;
  /** URL of a new, empty database, with user and password. */
  createDatabase(): Promise<string>;
  /** Runs SQL as the superuser, in `url`'s database; the output, one row per line. */
  query(url: string, text: string): Promise<string>;
  /** Ends it at once, as a crash would: nothing is flushed, clients are dropped. */
  crash(): Promise<void>;
  /** Starts it again on the same folder and port. */
  start(): Promise<void>;
  remove(): Promise<void>;
}

export async function startPostgres(settings: readonly string[] = []): Promise<PostgresServer> {
  const binaries = findBinaries();
  if (binaries === undefined) throw new Error("there is no PostgreSQL on this machine");
  const server = new DebianPostgres(binaries, await freePort(), settings);
  try {
    await server.initialize();
    await server.start();
  } catch (error) {
    await server.remove();
    throw error;
  }
  return server;
}

const run = promisify(execFile);

class DebianPostgres implements PostgresServer {
  readonly port: number;
  readonly #binaries: string;
  readonly #settings: readonly string[];
  readonly #folder = mkdtempSync(join(tmpdir(), "postern-pg-"));
  readonly #password = randomBytes(12).toString("hex");
  readonly #account = unprivilegedAccount();
  #postmaster: ChildProcess | undefined;
  #databases = 0;

  constructor(binaries: string, port: number, settings: readonly string[]) {
    this.#binaries = binaries;
    this.port = port;
    this.#settings = settings;
  }

  async initialize(): Promise<void> {
    const passwordFile = join(this.#folder, "password");
    writeFileSync(passwordFile, this.#password);
    if (this.#account !== undefined)
      for (const path of [this.#folder, passwordFile]) chownSync(path, this.#account.uid, this.#account.gid);
    await run(
      join(this.#binaries, "initdb"),
      ["-D", join(this.#folder, "data"), "-U", "postern", "-A", "scram-sha-256", "-E", "UTF8"].concat([
        "--pwfile",
        passwordFile,
        "--locale=C.UTF-8",
        "--no-instructions",
      ]),
      this.#asAccount(),
    );
  }

  async start(): Promise<void> {
    const more = ["max_connections=60", ...this.#settings].flatMap((setting) => ["-c", setting]);
    const postmaster = spawn(
      join(this.#binaries, "postgres"),
      [
        "-D",
        join(this.#folder, "data"),
        "-h",
        "127.0.0.1",
        "-p",
        String(this.port),
        "-k",
        this.#folder,
        ...more,
      ],
      { ...this.#asAccount(), stdio: ["ignore", "ignore", "pipe"] },
    );
    this.#postmaster = postmaster;
    await new Promise<void>((resolve, reject) => {
      let said = "";
      postmaster.stderr.on("data", (text: Buffer) => {
        said = (said + text.toString()).slice(-4000);
        if (said.includes("ready to accept connections")) resolve();
      });
      postmaster.once("exit", () => reject(new Error(`PostgreSQL ended: ${said}`)));
    });
  }

  async createDatabase(): Promise<string> {
    const name = `test_${++this.#databases}`;
    const url = (database: string) =>
      `postgres://postern:${this.#password}@127.0.0.1:${this.port}/${database}`;
    await this.query(url("postgres"), `create database ${name}`);
    return url(name);
  }

  async query(url: string, text: string): Promise<string> {
    const { stdout } = await run(join(this.#binaries, "psql"), [
      "-XAtq",
      "-v",
      "ON_ERROR_STOP=1",
      "-c",
      text,
      url,
    ]);
    return stdout.trim();
  }

  async crash(): Promise<void> {
    const postmaster = this.#postmaster;
    if (postmaster === undefined || postmaster.exitCode !== null || postmaster.signalCode !== null) return;
    const exited = once(postmaster, "exit");
    // "Immediate shutdown": no checkpoint and no farewell; the next start recovers from the log.
    postmaster.kill("SIGQUIT");
    await exited;
  }

  async remove(): Promise<void> {
    await this.crash();
    // Tables, indexes and write-ahead log.
    await searchForLeaks({ folders: [this.#folder], texts: {} }).finally(() => this.#removeFolder());
  }

  #removeFolder(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #asAccount() {
    return this.#account === undefined ? { cwd: this.#folder } : { cwd: this.#folder, ...this.#account };
  }
}

/** PostgreSQL refuses to run as root. */
function unprivilegedAccount(): { uid: number; gid: number } | undefined {
  return process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : undefined;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
