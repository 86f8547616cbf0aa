// SPDX-License-Identifier: Apache-2.0
/** The server's memory holds secrets: who can get at it, and does it ever reach a file? */
import { spawnSync } from "node:child_process";
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { POSTERN, type RunningProgram, startProgram } from "@postern/testkit";

const isRoot = process.getuid?.() === 0;
const ACCOUNT = 65_534;

let folder: string;
let programs: RunningProgram[];
beforeEach(() => {
  programs = [];
  folder = mkdtempSync(join(tmpdir(), "postern-memory-"));
  if (isRoot) chownSync(folder, ACCOUNT, ACCOUNT);
});
afterEach(async () => {
  await Promise.all(programs.map((program) => program.stop()));
  rmSync(folder, { recursive: true, force: true });
});

/** As an ordinary account: root may look into every process anyway. */
const asAccount = (words: readonly string[]): readonly string[] =>
  isRoot ? ["setpriv", `--reuid=${ACCOUNT}`, `--regid=${ACCOUNT}`, "--clear-groups", "--", ...words] : words;

function start(words: readonly string[], env: Record<string, string> = {}): RunningProgram {
  const [command = "", ...rest] = asAccount(words);
  const program = startProgram(command, rest, {
    cwd: folder,
    env: { HOME: folder, XDG_DATA_HOME: undefined, ...env },
  });
  programs.push(program);
  return program;
}

const server = async (words: readonly string[] = [], env: Record<string, string> = {}) => {
  const program = start([...words, POSTERN, "up", "--data", join(folder, "data")], env);
  await program.line((line) => line.startsWith("postern is ready"));
  return program;
};

/** What an ordinary process of the same account can open of another one's memory. */
function readable(pid: number): string[] {
  return ["environ", "maps", "mem"].filter((name) => {
    const [command = "", ...rest] = asAccount(["sh", "-c", `exec 3< /proc/${pid}/${name} && head -c 1 <&3`]);
    const { status, stderr } = spawnSync(command, rest, { encoding: "latin1" });
    // Reading `mem` at address 0 fails for everybody; opening it is what is asked here.
    return status === 0 || !/denied|not permitted/i.test(stderr);
  });
}

describe("the server's memory", () => {
  it("cannot be read by other processes of its account, which can read their own kind; and commands still reach it", async () => {
    const plain = start(["sleep", "1000"]);
    const { pid } = await server();
    await expect.poll(() => readable(plain.pid)).toEqual(expect.arrayContaining(["environ", "maps"]));
    expect(readable(pid)).toEqual([]);
    const status = await start([POSTERN, "status", "--data", join(folder, "data")]).ended;
    expect(status).toMatchObject({ code: 0, stderr: "" });
  });

  const leavesCores = !readFileSync("/proc/sys/kernel/core_pattern", "utf8").startsWith("|");
  it.skipIf(!leavesCores)(
    "reaches no core file when the server aborts; that of another program does",
    async () => {
      const unlimited = ["sh", "-c", 'ulimit -c unlimited && exec "$0" "$@"'];
      const cores = (): string[] =>
        readdirSync(folder, { recursive: true })
          .map(String)
          .filter((name) => /(^|\/)core/.test(name));
      const plain = start([...unlimited, "sleep", "1000"]);
      await expect.poll(() => readFileSync(`/proc/${plain.pid}/cmdline`, "utf8")).toMatch(/^sleep/);
      process.kill(plain.pid, "SIGABRT");
      await plain.ended;
      expect(cores()).toHaveLength(1);
      rmSync(join(folder, cores()[0]!));
      const { pid, ended } = await server(unlimited);
      process.kill(pid, "SIGABRT");
      expect((await ended).signal).toBe("SIGABRT");
      expect(cores()).toEqual([]);
    },
  );
});

describe("Node's inspector", () => {
  it("does not open at SIGUSR1, as it does for a plain Node program; the server goes on", async () => {
    const plain = start([
      process.execPath,
      "--inspect-port=0",
      "-e",
      "setInterval(()=>{},1000);console.log('up')",
    ]);
    await plain.line((line) => line === "up");
    process.kill(plain.pid, "SIGUSR1");
    await plain.line((line) => line.includes("Debugger listening"));
    const { pid } = await server();
    process.kill(pid, "SIGUSR1");
    const status = await start([POSTERN, "status", "--data", join(folder, "data")]).ended;
    expect(status.code).toBe(0);
    expect(listeners(pid)).toEqual([]);
  });

  it("does not open because NODE_OPTIONS says so, and the operator is told", async () => {
    const options = { NODE_OPTIONS: "--inspect=127.0.0.1:0", NODE_DEBUG: "http" };
    const plain = start([process.execPath, "-e", "setInterval(()=>{},1000)"], options);
    await plain.line((line) => line.includes("Debugger listening"));
    expect(listeners(plain.pid)).toHaveLength(1);
    const program = await server([], options);
    expect(listeners(program.pid)).toEqual([]);
    expect(program.stderr).toContain("NODE_OPTIONS is not handed to the server");
    expect(program.stderr).toContain("NODE_DEBUG is not handed to the server");
  });
});

/** Local addresses of the TCP sockets on which this process listens. */
function listeners(pid: number): string[] {
  const sockets = new Set(
    spawnSync("find", [`/proc/${pid}/fd`, "-lname", "socket:*", "-printf", "%l\n"], { encoding: "latin1" })
      .stdout.split("\n")
      .map((name) => /\d+/.exec(name)?.[0]),
  );
  return readFileSync(`/proc/net/tcp`, "latin1")
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , state, , , , , , inode]) => state === "0A" && sockets.has(inode))
    .map(([, address = ""]) => address);
}
