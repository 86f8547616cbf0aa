// SPDX-License-Identifier: Apache-2.0
/** Both sandboxes, as root and as an ordinary user: what the agent gets, and what it must never get. */
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { IsolationMode, SandboxPlan } from "./plan.ts";

const here = (name: string) => fileURLToPath(import.meta.resolve(`./${name}`));
const NODE = process.execPath;
const START = here("start-plan.fixture.ts");
const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;

interface User {
  readonly name: string;
  readonly uid: number;
  /** What goes before a command to run it as this user. */
  readonly become: readonly string[];
}

const users: User[] = isRoot
  ? [
      { name: "root", uid: 0, become: [] },
      {
        name: "an ordinary user",
        uid: NOBODY,
        become: ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--"],
      },
    ]
  : [{ name: "an ordinary user", uid: process.getuid?.() ?? -1, become: [] }];

/** Why this machine cannot run the sandbox as this user; undefined where it can. */
function obstacle(user: User, mode: IsolationMode): string | undefined {
  if (process.platform !== "linux") return "needs Linux";
  const tool = mode === "bubblewrap" ? "bwrap" : "unshare";
  if (spawnSync(tool, ["--version"]).error !== undefined) return `${tool} is not installed`;
  const [program = "", ...rest] = [
    ...user.become,
    ...(mode === "bubblewrap"
      ? ["bwrap", "--bind", "/", "/", "--unshare-all", "--proc", "/proc", "true"]
      : ["unshare", ...(user.uid === 0 ? [] : ["-Ur"]), "-mpf", "--mount-proc", "true"]),
  ];
  const result = spawnSync(program, rest, { encoding: "utf8", cwd: "/" });
  return result.status === 0 ? undefined : `this machine refuses namespaces: ${result.stderr.trim()}`;
}

interface Folders {
  readonly base: string;
  readonly data: string;
  readonly run: string;
  readonly keyFile: string;
}

/** A data folder with awkward characters in its name and a long path, owned by the user. */
function makeFolders(user: User): Folders {
  const base = mkdtempSync(join(tmpdir(), "postern sandbox '\"$x "));
  const data = join(base, "d".repeat(100), "data folder");
  const run = join(data, "runs", "one");
  const keyFile = join(base, "key file");
  mkdirSync(run, { recursive: true });
  writeFileSync(join(data, "secret"), "THE SECRET");
  writeFileSync(join(run, "ca.pem"), "PUBLIC");
  writeFileSync(keyFile, "THE KEY");
  if (isRoot) execFileSync("chown", ["-R", `${user.uid}:${user.uid}`, base]);
  return { base, data, run, keyFile };
}

function planOf(
  folders: Folders,
  mode: IsolationMode,
  command: string[],
  more: Record<string, string> = {},
): string {
  const plan: SandboxPlan = {
    mode,
    hidePaths: [folders.data, folders.keyFile],
    runFolder: folders.run,
    spec: { env: { PATH: "/usr/local/bin:/usr/bin:/bin", AGENT: "yes", ...more }, cwd: "/", command },
  };
  return JSON.stringify(plan);
}

function start(
  user: User,
  plan: string,
  stdio: ("pipe" | "inherit" | "ignore")[] = ["pipe", "pipe", "pipe"],
): ChildProcess {
  const [program, ...rest] = [...user.become, NODE, START, plan];
  return spawn(program, rest, { stdio, cwd: "/", env: { PATH: process.env.PATH, OUTSIDE_SECRET: "leak" } });
}

async function finish(child: ChildProcess): Promise<{ out: string; err: string; code: number | null }> {
  const closed = once(child, "close");
  const [out, err] = await Promise.all([
    child.stdout ? text(child.stdout) : "",
    child.stderr ? text(child.stderr) : "",
  ]);
  const [code] = (await closed) as [number | null];
  return { out, err, code };
}

/** Resolves with everything printed so far once it contains `wanted`. */
function printed(child: ChildProcess, wanted: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let seen = "";
    child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
      seen += chunk;
      if (seen.includes(wanted)) resolve(seen);
    });
    child.once("close", (code) => reject(new Error(`ended with ${code} before printing ${wanted}: ${seen}`)));
  });
}

/** Host processes whose command line holds `marker`, besides the one asking. */
function processesWith(marker: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0");
        return words[0] === "sleep" && words[1] === marker;
      } catch {
        return false;
      }
    });
}

let marker = 900_000 + (process.pid % 50_000) * 10;
const uniqueSleep = () => String(++marker);

interface Seen {
  env: Record<string, string>;
  cwd: string;
  uid: number;
  gid: number;
  umask: number;
  pid: number;
  status: Record<string, string>;
  processes: string[];
  hidden: unknown;
  throughFirst: unknown;
  writeHidden: string;
  devices: string[];
  openNull: string;
  writableKernelFiles: string[];
  network: Record<string, string>;
  interfaces: string[];
}

for (const user of users) {
  for (const mode of ["bubblewrap", "util-linux"] as const) {
    const why = obstacle(user, mode);
    describe.skipIf(why !== undefined)(
      `${mode} as ${user.name}${why === undefined ? "" : ` (skipped: ${why})`}`,
      () => {
        let folders: Folders;
        let seen: Seen;
        let hostTcp: Server;
        let hostAbstract: Server;

        const run = (command: string[], more: Record<string, string> = {}) =>
          finish(start(user, planOf(folders, mode, command, more)));

        beforeAll(async () => {
          folders = makeFolders(user);
          hostTcp = createServer().listen(0, "127.0.0.1");
          hostAbstract = createServer().listen("\0postern-test-" + process.pid);
          await Promise.all([once(hostTcp, "listening"), once(hostAbstract, "listening")]);
          const port = String((hostTcp.address() as AddressInfo).port);
          const inspect = [
            NODE,
            here("inspect-agent.fixture.ts"),
            folders.data,
            port,
            "postern-test-" + process.pid,
          ];
          const { out, err } = await run(inspect);
          if (err !== "") throw new Error(err);
          seen = JSON.parse(out) as Seen;
        }, 20_000);

        afterAll(() => {
          hostTcp.close();
          hostAbstract.close();
          rmSync(folders.base, { recursive: true, force: true });
        });

        test("the agent has no capability in any set and can gain none", () => {
          const sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map((name) => seen.status[name]);
          expect(sets).toEqual(Array(5).fill("0".repeat(16)));
          expect(seen.status.NoNewPrivs).toBe("1");
          expect(seen.status.Seccomp).toBe("2");
        });

        test("the data folder shows the run folder and nothing else, and nothing can be planted in it", () => {
          expect(seen.hidden).toEqual(["runs", "runs/one", "runs/one/ca.pem"]);
          // Bubblewrap's first process is no more than the agent is; a shell with privileges may not be looked at.
          expect(mode === "bubblewrap" ? seen.hidden : "EACCES").toEqual(seen.throughFirst);
          expect(seen.writeHidden).toBe("EROFS");
        });

        test("no folder above what is hidden can be renamed, and the next run finds nothing at another path", async () => {
          const above = join(folders.base, "d".repeat(100));
          const steal = 'mv -T "$1" "$1.x"; mv -T "$2" "$2.x"; ls "$1"; cat "$1.x/data folder/secret"';
          const first = await run(["sh", "-c", steal, "sh", above, folders.base]);
          expect(first.err.match(/busy/gi)).toHaveLength(2);
          expect(first.out).toBe("data folder\n");
          expect(readdirSync(above)).toEqual(["data folder"]);
          const second = await run(["find", folders.base, "-name", "secret"]);
          expect(second.out).toBe("");
        });

        test("nothing but the renaming changes for files beside the hidden ones", async () => {
          const work = 'cd "$1" && echo a > new && mv new moved && cat moved && rm moved';
          expect(await run(["sh", "-c", work, "sh", folders.base])).toEqual({ out: "a\n", err: "", code: 0 });
        });

        test("the first process is no way to the terminal", async () => {
          const trace = `import ctypes,os
l=ctypes.CDLL(None,use_errno=True); p=l.ptrace; p.argtypes=[ctypes.c_long]*4; p.restype=ctypes.c_long
filter=[x.split()[1] for x in open("/proc/1/status") if x.startswith("Seccomp:")][0]
traced=p(16,1,0,0)
if traced==0: os.waitpid(1,0x40000000); p(17,1,0,0)
print(filter, traced)`;
          const { out } = await run(["python3", "-c", trace]);
          // With the filter on it tracing it gives nothing; without one it must not be traced.
          expect(["2 0", "2 -1", "0 -1"]).toContain(out.trim());
          if (mode === "bubblewrap") expect(out).toMatch(/^2 /);
        });

        test("kernel keys, which know no namespace, are refused", async () => {
          const keys = `import ctypes
l=ctypes.CDLL(None,use_errno=True)
def k(*a):
  ctypes.set_errno(0); return l.syscall(*a), ctypes.get_errno()
print(k(250,8,-4,-3), k(250,1,None), k(248,b"user",b"n",b"v",1,-3), k(249,b"user",b"n",None,0))`;
          const { out } = await run(["python3", "-c", keys]);
          // The numbers are those of x64; elsewhere `seccomp-filter.test.ts` has to do.
          expect(process.arch === "x64" ? out.trim() : "(-1, 1) ".repeat(4).trim()).toBe(
            "(-1, 1) (-1, 1) (-1, 1) (-1, 1)",
          );
        });

        test("a hidden file is empty", async () => {
          expect(await run(["cat", folders.keyFile])).toEqual({ out: "", err: "", code: 0 });
        });

        test("a user namespace of the agent's own does not uncover the data folder", async () => {
          const nested = [
            "unshare",
            "--user",
            "--mount",
            "--keep-caps",
            NODE,
            here("hostile-agent.fixture.ts"),
            folders.data,
          ];
          const { out, err } = await run(nested);
          expect(err).toBe("");
          const attempts = JSON.parse(out) as Record<string, string>;
          // Without this one the rest would prove nothing: it could mount, only not that.
          expect(attempts.canMount).toBe("done");
          expect(JSON.stringify(attempts)).not.toContain("secret");
          // ENOENT: the copy of the mount tree that it is asked of was refused itself.
          const refused = ["EINVAL", "EPERM", "ENOENT"];
          const alwaysRefused = [
            ...[
              "umount",
              "umountLazily",
              "umountInCopy",
              "moveAway",
              "remountWritable",
              "kernelSettingsWritable",
            ],
            ...["bindRoot", "bindParent", "overlay", "overlayOfParent", "openTree", "openTreeOfParent"],
          ];
          const gotThrough = alwaysRefused.filter((name) => !refused.includes(attempts[name] ?? ""));
          expect(gotThrough, out).toEqual([]);
        });

        test("no process of the outside is visible", () => {
          expect(Math.max(...seen.processes.map(Number))).toBeLessThan(100);
          expect(seen.pid).toBe(2);
        });

        test("no kernel setting is writable, although uid 0 owns them", () => {
          // Per-process triggers for one's own pressure notifications: harmless and open to everybody.
          const open = seen.writableKernelFiles.filter((path) => !path.startsWith("/proc/pressure/"));
          expect(open).toEqual([]);
        });

        test("there are no block devices, no kernel memory and no terminals of others in /dev", () => {
          const harmless =
            /^(core|dri|fd|full|kfd|kvm|null|nvidia.*|ptmx|pts|random|shm|stderr|stdin|stdout|tty|urandom|zero|console)$/;
          expect(seen.devices.filter((name) => !harmless.test(name))).toEqual([]);
          expect(seen.openNull).toBe("written");
        });

        test("neither the host's loopback, nor the network, nor abstract sockets can be reached", () => {
          expect(seen.interfaces).toContain("lo");
          expect(seen.network.hostLoopback).toBe("ECONNREFUSED");
          expect(["ENETUNREACH", "EHOSTUNREACH"]).toContain(seen.network.internet);
          expect(["ENETUNREACH", "EHOSTUNREACH"]).toContain(seen.network.udp);
          expect(seen.network.abstract).toBe("ECONNREFUSED");
        });

        test("the environment is exactly the agent's", () => {
          expect(seen.env).toEqual({ PATH: "/usr/local/bin:/usr/bin:/bin", AGENT: "yes" });
        });

        test("user, group, umask and working folder stay the same", () => {
          expect(seen).toMatchObject({ uid: user.uid, gid: isRoot ? user.uid : process.getgid!(), cwd: "/" });
          expect(seen.umask).toBe(process.umask());
        });

        test("only the three standard streams are open, whatever the caller had open", async () => {
          const plan = planOf(folders, mode, ["sh", "-c", "ls /proc/$$/fd; true"]);
          const child = start(user, plan, ["pipe", "pipe", "pipe", "pipe", "pipe", "pipe"]);
          expect((await finish(child)).out.trim().split("\n")).toEqual(["0", "1", "2"]);
        });

        test("signals are at their defaults and none is blocked", async () => {
          const { out } = await run(["cat", "/proc/self/status"]);
          expect(/^SigIgn:\s*(\w+)$/m.exec(out)?.[1]).toMatch(/^0+$/);
          expect(/^SigBlk:\s*(\w+)$/m.exec(out)?.[1]).toMatch(/^0+$/);
        });

        test.each([
          [["sh", "-c", "exit 7"], 7],
          [["true"], 0],
          [["sh", "-c", "kill -TERM $$"], 143],
          [["sh", "-c", "kill -KILL $$"], 137],
        ])(
          "exit code of %j is %i, and nothing is added to the agent's error output",
          async (command, code) => {
            expect(await run(command)).toEqual({ out: "", err: "", code });
          },
        );

        test("a command that is not there exits with 127, one that is no program with 126", async () => {
          expect(await run(["no-such-program"])).toEqual({
            out: "",
            err: "postern: no-such-program: command not found\n",
            code: 127,
          });
          expect(await run(["/etc/passwd"])).toEqual({
            out: "",
            err: "postern: /etc/passwd: not executable\n",
            code: 126,
          });
        });

        test("a script without an interpreter line runs as in a shell", async () => {
          const script = join(folders.base, "plain script");
          writeFileSync(script, "echo ran $1");
          chmodSync(script, 0o755);
          expect(await run([script, "a"])).toMatchObject({ out: "ran a\n", code: 0 });
        });

        test("arguments and values go through unchanged", async () => {
          const awkward = ["a b", "'\"", "$HOME `id`", "", "ü\n"];
          const { out } = await run(["printf", "%s|", ...awkward, "{port}"]);
          expect(out).toBe([...awkward, "{port}", ""].join("|"));
        });

        test("standard input goes through, to its end", async () => {
          const child = start(user, planOf(folders, mode, ["wc", "-c"]));
          child.stdin!.end("x".repeat(300_000));
          expect((await finish(child)).out.trim()).toBe("300000");
        });

        test("pseudo terminals can be made inside", async () => {
          const { out, err } = await run(["script", "-qec", "tty", "/dev/null"]);
          expect(err).toBe("");
          expect(out).toContain("/dev/pts/0");
        });

        test("background processes end with the agent", async () => {
          const sleep = uniqueSleep();
          const { code } = await run([
            "sh",
            "-c",
            `sleep ${sleep} & setsid sleep ${sleep} >/dev/null 2>&1 & exit 3`,
          ]);
          expect(code).toBe(3);
          await expect.poll(() => processesWith(sleep).length, { timeout: 5000, interval: 20 }).toBe(0);
        });

        test("a command line that is killed takes the whole run with it", async () => {
          const sleep = uniqueSleep();
          const child = start(
            user,
            planOf(folders, mode, ["sh", "-c", `setsid sleep ${sleep} & echo up; sleep ${sleep}`]),
          );
          await printed(child, "up");
          await expect.poll(() => processesWith(sleep).length, { timeout: 5000, interval: 20 }).toBe(2);
          child.kill("SIGKILL");
          await expect.poll(() => processesWith(sleep).length, { timeout: 5000, interval: 20 }).toBe(0);
        });

        test("the run outlives a Ctrl-C that the agent handles", async () => {
          // A process group of its own, as a shell makes for a job; the signal goes to all of it, as from a terminal.
          const plan = planOf(folders, mode, [
            "sh",
            "-c",
            "trap 'echo caught; exit 5' INT; echo up; while :; do sleep 0.05; done",
          ]);
          const [program, ...rest] = [...user.become, NODE, START, plan];
          const child = spawn(program, rest, {
            detached: true,
            cwd: "/",
            stdio: ["ignore", "pipe", "inherit"],
          });
          const done = finish(child);
          await new Promise((resolve) => child.stdout.once("data", resolve));
          process.kill(-child.pid!, "SIGINT");
          expect(await done).toMatchObject({ code: 5 });
        });

        test("typing into the shared terminal is refused", async () => {
          const pushed = `import fcntl,termios,sys
try:
  fcntl.ioctl(0, termios.TIOCSTI, b"x"); print("typed")
except OSError as e: print("errno", e.errno)
try:
  fcntl.ioctl(0, termios.TIOCSTI | (1 << 32), b"x"); print("typed")
except (OSError, OverflowError) as e: print("refused")`;
          const [program, ...rest] = [
            "script",
            "-qec",
            shellWords([...user.become, NODE, START, planOf(folders, mode, ["python3", "-c", pushed])]),
            "/dev/null",
          ];
          const { out } = await finish(
            spawn(program, rest, { cwd: "/", stdio: ["pipe", "pipe", "inherit"] }),
          );
          expect(out).toContain("errno 1\r\nrefused");
        });

        test("the terminal stays the controlling terminal, with its job control", async () => {
          const agent = [
            "read -r _ _ _ _ _ _ terminal _ < /proc/$$/stat; [ $terminal != 0 ] && echo controlled",
            "test -t 0 && test -t 1 && echo interactive",
            "echo typed > /dev/tty",
            'set -m; sh -c "echo job"; echo managed',
          ];
          const plan = planOf(folders, mode, ["sh", "-c", agent.join("\n")]);
          const words = shellWords([...user.become, NODE, START, plan]);
          const { out } = await finish(
            spawn("script", ["-qec", words, "/dev/null"], { cwd: "/", stdio: ["pipe", "pipe", "inherit"] }),
          );
          // dash cannot give the terminal back to a group outside of its process namespace, and says so at its end.
          const lines = out
            .split("\r\n")
            .filter((line) => line !== "" && !line.includes("Cannot set tty process group"));
          expect(lines).toEqual(["controlled", "interactive", "typed", "job", "managed"]);
        });
      },
    );
  }
}

const shellWords = (words: readonly string[]) =>
  words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
