// SPDX-License-Identifier: Apache-2.0
/** Runs with real processes: who is let in, who is kept out, and what hostile peers can do to a run. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";

const SERVER = fileURLToPath(import.meta.resolve("./serve-run.fixture.ts"));
const START = fileURLToPath(import.meta.resolve("../../../../cli/src/sandbox/start-plan.fixture.ts"));
const NODE = process.execPath;
const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;

type Mode = "bubblewrap" | "util-linux" | "none";
interface User {
  readonly name: string;
  readonly uid: number;
  readonly become: readonly string[];
}
const self: User = { name: isRoot ? "root" : "an ordinary user", uid: process.getuid?.() ?? -1, become: [] };
const nobody: User = {
  name: "an ordinary user",
  uid: NOBODY,
  become: ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--"],
};
const users = isRoot ? [self, nobody] : [self];

function obstacle(user: User, mode: Mode): string | undefined {
  if (process.platform !== "linux") return "needs Linux";
  if (mode === "none") return undefined;
  const [program = "", ...rest] = [
    ...user.become,
    ...(mode === "bubblewrap"
      ? ["bwrap", "--bind", "/", "/", "--unshare-all", "--proc", "/proc", "true"]
      : ["unshare", ...(user.uid === 0 ? [] : ["-Ur"]), "-mpf", "--mount-proc", "true"]),
  ];
  const result = spawnSync(program, rest, { encoding: "utf8", cwd: "/" });
  return result.status === 0 ? undefined : (result.error?.message ?? result.stderr.trim());
}

interface Opened {
  launchSocket: string;
  doorSocket: string;
  launchToken: string;
  folder: string;
  pid: number;
}
type Event = {
  opened?: Opened;
  launched?: { pid: number; port: number };
  closed?: string;
  refused?: string;
  notLaunched?: string;
};

/** A server process with one run in it. */
class TestServer {
  readonly base = mkdtempSync(join(tmpdir(), "postern run '\" "));
  readonly child: ChildProcess;
  readonly events: Event[] = [];
  #wake: (() => void)[] = [];
  readonly user: User;
  readonly mode: Mode;

  constructor(user: User, mode: Mode, more: { launchTimeoutMs?: number; agent?: string } = {}) {
    this.user = user;
    this.mode = mode;
    const data = join(this.base, "l".repeat(90), "data");
    mkdirSync(data, { recursive: true });
    writeFileSync(join(data, "secret"), "THE SECRET");
    if (isRoot) spawnSync("chown", ["-R", `${user.uid}:${user.uid}`, this.base]);
    const order = JSON.stringify({ folder: join(data, "runs"), isolated: mode !== "none", ...more });
    const [program, ...rest] = [...user.become, NODE, SERVER, order];
    this.child = spawn(program, rest, { stdio: ["pipe", "pipe", "inherit"], cwd: "/" });
    let unfinished = "";
    this.child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
      const lines = (unfinished + chunk).split("\n");
      unfinished = lines.pop()!;
      this.events.push(...lines.map((line) => JSON.parse(line) as Event));
      for (const wake of this.#wake.splice(0)) wake();
    });
  }

  get data(): string {
    return join(this.base, "l".repeat(90), "data");
  }

  async until<T>(pick: (event: Event) => T | undefined): Promise<T> {
    for (;;) {
      const found = this.events.map(pick).find((each) => each !== undefined);
      if (found !== undefined) return found;
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error("no such event: " + JSON.stringify(this.events))),
          8000,
        );
        this.#wake.push(() => (clearTimeout(timer), resolve()));
      });
    }
  }

  opened = () => this.until((event) => event.opened);

  async start(command: string[], mode: Mode = this.mode): Promise<ChildProcess> {
    const opened = await this.opened();
    const plan = {
      mode,
      hidePaths: [this.data],
      runFolder: opened.folder,
      spec: {
        launch: { socket: opened.launchSocket, token: opened.launchToken, port: 0 },
        env: {
          PATH: "/usr/local/bin:/usr/bin:/bin",
          GATE: "http://127.0.0.1:{port}/",
          DOOR: opened.doorSocket,
        },
        gateVariables: ["GATE"],
        cwd: "/",
        command,
      },
    };
    const [program, ...rest] = [...this.user.become, NODE, START, JSON.stringify(plan)];
    return spawn(program, rest, { stdio: ["pipe", "pipe", "pipe"], cwd: "/" });
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once("close", resolve));
    if (this.child.exitCode === null) {
      this.child.stdin!.end();
      await ended;
    }
    rmSync(this.base, { recursive: true, force: true });
    for (const link of links.splice(0)) rmSync(link, { force: true });
  }
}

const servers: TestServer[] = [];
const links: string[] = [];
function serve(user: User, mode: Mode, more: { launchTimeoutMs?: number; agent?: string } = {}): TestServer {
  const server = new TestServer(user, mode, more);
  servers.push(server);
  return server;
}
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});

async function finish(child: ChildProcess) {
  const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [out, err] = await Promise.all([text(child.stdout!), text(child.stderr!)]);
  return { out, err, code: await closed };
}

/** Sends bytes to a Unix socket of any path length, gives what came back. */
function talk(path: string, bytes: string | Buffer): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect(path, () => socket.write(bytes));
    socket.setEncoding("utf8").on("data", (chunk: string) => (answer += chunk));
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(`${answer}!${error.code}`));
    socket.on("close", () => resolve(answer));
  });
}

/** A path that fits in a socket address: through a link, since the data folder's path is long on purpose. */
function short(server: TestServer, path: string): string {
  const link = `/tmp/pt-${process.pid}-${servers.length}`;
  rmSync(link, { force: true });
  spawnSync("ln", ["-s", join(path, ".."), link]);
  links.push(link);
  return join(link, path.slice(path.lastIndexOf("/") + 1));
}

const fetchGate = "fetch(process.env.GATE).then(r => r.text()).then(t => console.log(t))";

for (const user of users) {
  for (const mode of ["bubblewrap", "util-linux", "none"] as const) {
    const why = obstacle(user, mode);
    describe.skipIf(why !== undefined)(
      `${mode} as ${user.name}${why === undefined ? "" : ` (skipped: ${why})`}`,
      () => {
        test("the gate knows the agent's process, and the agent is the leader itself", async () => {
          const server = serve(user, mode, { agent: "tester" });
          const { out, err, code } = await finish(await server.start([NODE, "-e", fetchGate]));
          expect({ err, code }).toEqual({ err: "", code: 0 });
          const { pid } = await server.until((event) => event.launched);
          const caller = JSON.parse(out) as { processes: { pid: number; selectors: string[] }[] };
          expect(caller).toMatchObject({
            transport: "tcp",
            stillHolds: true,
            processes: [{ pid, path: NODE }],
          });
          expect(caller.processes[0]!.selectors).toEqual(
            expect.arrayContaining([
              `process:uid=${user.uid}`,
              `process:path=${NODE}`,
              `process:isolated=${mode !== "none"}`,
              "process:agent=tester",
              expect.stringMatching(/^process:sha256=[0-9a-f]{64}$/),
            ]),
          );
          expect(await server.until((event) => event.closed)).toBe("the agent ended");
          expect(existsSync((await server.opened()).folder)).toBe(false);
        });

        test("a child of the agent is known as itself, not as its parent", async () => {
          const server = serve(user, mode);
          const child = `python3 -c "import urllib.request,os;print(urllib.request.urlopen(os.environ['GATE']).read().decode())"`;
          const { out, err } = await finish(await server.start(["sh", "-c", `${child}; true`]));
          expect(err).toBe("");
          const { pid } = await server.until((event) => event.launched);
          const { processes } = JSON.parse(out) as { processes: { pid: number; path: string }[] };
          expect(processes).toHaveLength(1);
          expect(processes[0]!.pid).not.toBe(pid);
          expect(processes[0]!.path).toContain("python3");
        });

        test("a socket that two programs hold is told with both", async () => {
          const server = serve(user, mode);
          const shared = `
import socket,os,subprocess,time
host,port=os.environ["GATE"][7:-1].split(":")
s=socket.socket(); os.set_inheritable(s.fileno(),True)
s.bind(("127.0.0.1",0))
p=subprocess.Popen(["sleep","60"],close_fds=False)
while "sleep" not in os.readlink("/proc/%d/exe"%p.pid): time.sleep(.01)
s.connect((host,int(port)))
s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
data=b""
while True:
  part=s.recv(65536)
  if not part: break
  data+=part
  if b"stillHolds" in data: break
print(data.decode().split("\\r\\n\\r\\n")[1]); p.kill()
`;
          const { out, err } = await finish(await server.start(["python3", "-c", shared]));
          expect(err).toBe("");
          const { processes } = JSON.parse(out) as { processes: { path: string }[] };
          expect(
            processes.map(({ path }) => path.split("/").at(-1)!).toSorted((a, b) => (a < b ? -1 : 1)),
          ).toEqual([expect.stringContaining("python3"), "sleep"]);
        });

        test.each([
          ["SIGTERM", 143],
          ["SIGHUP", 129],
          ["SIGINT", 130],
          ["SIGUSR1", 138],
          ["SIGUSR2", 140],
        ] as const)("%s to the command line reaches the agent: exit code %i", async (signal, code) => {
          const server = serve(user, mode);
          const child = await server.start(["sh", "-c", "echo up; exec sleep 60"]);
          await Promise.all([
            new Promise((resolve) => child.stdout!.once("data", resolve)),
            server.until((event) => event.launched),
          ]);
          child.kill(signal);
          expect((await finish(child)).code).toBe(code);
        });

        test("a process that becomes another program on the same connection is noticed", async () => {
          const server = serve(user, mode);
          const second = `import socket,sys
s=socket.socket(fileno=int(sys.argv[1]))
s.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
data=b""
while b"stillHolds" not in data: data+=s.recv(65536)
print(data.decode().split("stillHolds")[1])`;
          const first = `import socket,os
host,port=os.environ["GATE"][7:-1].split(":")
s=socket.create_connection((host,int(port))); os.set_inheritable(s.fileno(),True)
s.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
data=b""
while b"stillHolds" not in data: data+=s.recv(65536)
print(data.decode().split("stillHolds")[1],flush=True)
os.execv("/bin/sh",["sh","-c",'"$0" -c "$1" "$2"; true',os.environ["PY"],os.environ["SECOND"],str(s.fileno())])`;
          const agent = `export SECOND="$1" PY="$(command -v python3)"; exec python3 -c "$0"`;
          const { out, err } = await finish(await server.start(["sh", "-c", agent, first, second]));
          expect(err).toBe("");
          expect(out.trim().split("\n")).toEqual(['":true}', '":false}']);
        });

        test("a process outside of the run is refused at the door", async () => {
          const server = serve(user, mode);
          const child = await server.start(["sh", "-c", "echo up; exec sleep 60"]);
          await new Promise((resolve) => child.stdout!.once("data", resolve));
          const door = short(server, (await server.opened()).doorSocket);
          expect(await talk(door, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")).toContain(
            "does not belong to the run",
          );
          expect(await server.until((event) => event.refused)).toBe("the caller does not belong to the run");
          child.kill("SIGTERM");
          await finish(child);
        });

        test.skipIf(mode === "none")(
          "a program mounted over another one does not get that one's path",
          async () => {
            const server = serve(user, mode);
            const disguise = `import ctypes,os,sys
libc=ctypes.CDLL(None,use_errno=True)
assert libc.mount(sys.argv[1].encode(),b"/usr/bin/env",None,4096,None)==0, ctypes.get_errno()
os.execv("/usr/bin/env",["env","-e",sys.argv[2]])`;
            const command = [
              "unshare",
              "--user",
              "--mount",
              "--keep-caps",
              "python3",
              "-c",
              disguise,
              NODE,
              fetchGate,
            ];
            const { out, err } = await finish(await server.start(command));
            expect(err).toBe("");
            const { processes } = JSON.parse(out) as { processes: { path: string; selectors: string[] }[] };
            expect(processes[0]!.path).toBe("/usr/bin/env");
            expect(processes[0]!.selectors.filter((each) => each.includes(":path="))).toEqual([]);
          },
        );

        test.skipIf(mode !== "none")(
          "a process outside of the run is refused at a gate on the host's loopback",
          async () => {
            const server = serve(user, mode);
            const child = await server.start(["sh", "-c", "echo up; exec sleep 60"]);
            const { port } = await server.until((event) => event.launched);
            const answer = await new Promise<string>((resolve) => {
              get({ port, host: "127.0.0.1" }, (response) => void text(response).then(resolve));
            });
            expect(answer).toBe("no process of the run holds the connection");
            child.kill("SIGTERM");
            await finish(child);
          },
        );
      },
    );
  }
}

describe.skipIf(process.platform !== "linux")("a run under attack", () => {
  test.each([
    ["a wrong token of the right length", "x".repeat(43) + "\n"],
    ["garbage", Buffer.from([0, 255, 10, 13, 0]).toString("latin1")],
    ["far too much", "y".repeat(100_000)],
  ])("%s on the launch socket ends the run", async (_name, bytes) => {
    const server = serve(self, "none");
    const { launchSocket, folder } = await server.opened();
    expect(await talk(short(server, launchSocket), bytes)).toMatch(/^no wrong launch token\n/);
    expect(await server.until((event) => event.notLaunched)).toBe("launch refused: wrong launch token");
    expect(existsSync(folder)).toBe(false);
  });

  test("the right token without a listening socket is refused", async () => {
    const server = serve(self, "none");
    const { launchSocket, launchToken } = await server.opened();
    expect(await talk(short(server, launchSocket), launchToken + "\n")).toBe(
      "no the launch message carries no listening socket\n",
    );
  });

  test("peers that come and go without a word do not disturb the launch", async () => {
    const server = serve(self, "none");
    const path = short(server, (await server.opened()).launchSocket);
    await Promise.all(
      Array.from(
        { length: 40 },
        () =>
          new Promise<void>((resolve) => {
            const socket = connect(path, () => socket.destroy());
            socket.on("error", () => {});
            socket.on("close", () => resolve());
          }),
      ),
    );
    const { code } = await finish(await server.start([NODE, "-e", fetchGate]));
    expect(code).toBe(0);
  });

  test("a run that is not launched in time closes", async () => {
    const server = serve(self, "none", { launchTimeoutMs: 50 });
    expect(await server.until((event) => event.notLaunched)).toBe("no launch in time");
  });

  test("a launch without isolation is refused where isolation was asked for", async () => {
    const server = serve(self, "bubblewrap");
    const { err, code } = await finish(await server.start(["true"], "none"));
    expect(err).toContain("the server refused the launch: the launching process is not isolated");
    expect(code).toBe(1);
  });

  test.skipIf(!isRoot)("a launch by another user is refused", async () => {
    const server = serve(nobody, "none");
    const opened = await server.opened();
    const plan = {
      mode: "none",
      hidePaths: [],
      spec: {
        launch: { socket: opened.launchSocket, token: opened.launchToken, port: 0 },
        env: {},
        cwd: "/",
        command: ["/bin/true"],
      },
    };
    const { err } = await finish(
      spawn(NODE, [START, JSON.stringify(plan)], { stdio: ["pipe", "pipe", "pipe"], cwd: "/" }),
    );
    expect(err).toContain("the run was opened for another user");
  });

  test("a daemonized process, adopted by another parent, is refused without isolation", async () => {
    const server = serve(self, "none");
    // The grandchild asks once its parent has gone.
    const script = `(setsid sh -c 'sleep 0.3; exec ${NODE} -e "${fetchGate}"' &) ; sleep 1.5`;
    await finish(await server.start(["sh", "-c", script]));
    expect(
      server.events.some((event) => event.refused === "no process of the run holds the connection"),
    ).toBe(true);
  });

  test("a thousand connections at once are all answered", async () => {
    const server = serve(self, "none");
    const many = `const {connect}=require("net");const [host,port]=process.env.GATE.slice(7,-1).split(":");let done=0,good=0;
for(let i=0;i<1000;i++){let d="";const s=connect(port,host,()=>s.write("GET / HTTP/1.0\\r\\n\\r\\n"));
s.on("data",x=>d+=x).on("error",()=>{}).on("close",()=>{if(d.includes(" 200 "))good++;if(++done===1000)console.log(good)})}`;
    const started = performance.now();
    const { out } = await finish(await server.start([NODE, "-e", many]));
    expect(out.trim()).toBe("1000");
    expect(performance.now() - started).toBeLessThan(15_000);
  }, 20_000);
});
