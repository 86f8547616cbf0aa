// SPDX-License-Identifier: Apache-2.0
/** Who may speak for an agent: processes that leave the run, change, pass their connection on, or were never in it. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { POSTERN, startPostern, startStandIns, type Postern, type StandIns } from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

let standIns: StandIns;
let postern: Postern;
const scratch = mkdtempSync(join(tmpdir(), "postern-foreign-"));

beforeAll(async () => {
  standIns = await startStandIns();
  postern = await startPostern();
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  await postern.apply(standIns.resources());
});

afterAll(async () => {
  await postern?.stop();
  await standIns?.close();
  rmSync(scratch, { recursive: true, force: true });
});

/** What every program below needs: the gate, and a call that gives the code of the refusal. */
const PRELUDE = `import json,os,socket,sys,time
host,port=os.environ["POSTERN_GATE"][7:].split(":")
def dial(): return socket.create_connection((host,int(port)))
def call(s):
  s.sendall(("GET /openai/v1/models HTTP/1.1\\r\\nHost: %s:%s\\r\\n\\r\\n" % (host,port)).encode())
  data=b""
  while b"\\r\\n\\r\\n" not in data:
    part=s.recv(65536)
    if not part: return "closed"
    data+=part
  head,rest=data.split(b"\\r\\n\\r\\n",1)
  length=int([l for l in head.lower().split(b"\\r\\n") if l.startswith(b"content-length")][0].split(b":")[1])
  while len(rest)<length: rest+=s.recv(65536)
  return json.loads(rest)["code"]
def until_refused(s):
  # A process is looked at again after a tenth of a second.
  for _ in range(100):
    code=call(s)
    if code!="access_denied": return code
    time.sleep(.05)
  return "never refused"
`;

/** Runs a Python program as the agent; what it printed. */
async function run(program: string, ...words: string[]): Promise<string> {
  const command = ["run", ...words, "--agent", "demo-agent", "--", "python3", "-c", PRELUDE + program];
  const result = await postern.postern(command);
  expect([result.code, result.stderr]).toEqual([0, expect.not.stringContaining("Traceback")]);
  return result.stdout.trim();
}

describe("a process of the run", () => {
  it("is the agent, and so are its children and what it daemonizes, as long as the run is isolated", async () => {
    const program = `
r,w=os.pipe()
print(call(dial()),flush=True)
if os.fork()==0:
  os.setsid()
  if os.fork()==0:
    os.write(w,call(dial()).encode()); os._exit(0)
  os._exit(0)
os.wait(); os.close(w); print(os.read(r,100).decode())`;
    expect((await run(program)).split("\n")).toEqual(["access_denied", "access_denied"]);
  });

  it("that starts another program is no longer who opened the connection", async () => {
    const second = PRELUDE + `\nprint(until_refused(socket.socket(fileno=int(sys.argv[1]))))`;
    const program = `
s=dial(); s.set_inheritable(True); print(call(s),flush=True)
os.execv("/bin/sh",["sh","-c",'"$0" -c "$1" "$2"; true',sys.executable,${JSON.stringify(second)},str(s.fileno())])`;
    expect((await run(program)).split("\n")).toEqual(["access_denied", "agent_unidentified"]);
  });

  it("that hands its connection to another process and ends takes its identity with it", async () => {
    const program = `
mine,theirs=socket.socketpair()
if os.fork()==0:
  s=dial(); code=call(s); socket.send_fds(mine,[code.encode()],[s.fileno()]); os._exit(0)
code,fds,_,_=socket.recv_fds(theirs,100,1)
os.wait(); print(code.decode(),until_refused(socket.socket(fileno=fds[0])))`;
    expect(await run(program)).toBe("access_denied agent_unidentified");
  });

  it("that outlives its leader loses its connection and gets no other", async () => {
    const said = join(scratch, "said");
    const program = `
r,w=os.pipe()
if os.fork()==0:
  os.setsid()
  s=dial(); first=call(s); os.write(w,b"x")
  while os.getppid()!=1 and os.getppid()==LEADER: time.sleep(.01)
  after=s.recv(1)
  try: again=call(dial())
  except OSError as e: again=type(e).__name__
  open(${JSON.stringify(`${said}.new`)},"w").write("%s %r %s"%(first,after,again))
  os.rename(${JSON.stringify(`${said}.new`)},${JSON.stringify(said)}); os._exit(0)
os.read(r,1)`.replace("LEADER", "leader");
    await run(`leader=os.getpid()${program}`, "--no-isolate");
    await expect
      .poll(() => readFileSync(said, "utf8"), { timeout: 20_000 })
      .toMatch(/^access_denied b'' (ConnectionRefusedError|ConnectionResetError|closed)$/);
  });
});

describe("a process outside of the run", () => {
  it.skipIf(process.getuid?.() !== 0)("of another account does not even reach the door", async () => {
    const agent = await RunningAgent.start({ folder: postern.folder, agent: "demo-agent" });
    const connect = `import socket,sys\ns=socket.socket(socket.AF_UNIX)\ntry: s.connect(sys.argv[1]); print("connected")\nexcept OSError as e: print(type(e).__name__)`;
    const door = agent.environment["POSTERN_DOOR"]!;
    const other = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    const result = spawnSync("setpriv", [...other, "/usr/bin/python3", "-c", connect, door], {
      encoding: "utf8",
    });
    await agent.stop();
    expect(result.stdout.trim()).toBe("PermissionError");
  });
});

describe("an agent that", () => {
  it("edits the file with its own policy changes nothing until an operator applies it", async () => {
    const file = join(scratch, "resources.yaml");
    writeFileSync(file, standIns.resources());
    const everything = standIns.resources().replaceAll(/allow: .*/g, "allow: { everything: true }");
    const program = `
open(${JSON.stringify(file)},"w").write(${JSON.stringify(everything)})
print(call(dial()))`;
    expect(await run(program)).toBe("access_denied");
    expect(readFileSync(file, "utf8")).toContain("everything: true");
  });

  it.each([
    ["apply", ["apply", "-f"]],
    ["read the log", ["audit", "tail"]],
    ["open another run", ["run", "--no-isolate", "--agent", "demo-agent", "--", "true"]],
  ])("tries to %s as an operator finds no server", async (_name, words) => {
    const file = join(scratch, "mine.yaml");
    writeFileSync(file, standIns.resources());
    const command = words.at(-1) === "-f" ? [...words, file] : words;
    const inside = [
      "run",
      "--agent",
      "demo-agent",
      "--",
      "env",
      `POSTERN_HOME=${postern.folder}`,
      POSTERN,
      ...command,
    ];
    const result = await postern.postern(inside);
    expect(result.code).not.toBe(0);
    expect(result.stderr).toContain("no server is running");
    expect(result.stdout).not.toContain("class_uid");
  });
});
