// SPDX-License-Identifier: Apache-2.0
/** The server's surroundings fail: it says which and what to do next, loses nothing, and goes on where it can. */
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Postern, startPostern, startStandIns, type StandIns } from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

let standIns: StandIns;
let scratch: string;
let folder: string;
let postern: Postern | undefined;

beforeAll(async () => {
  standIns = await startStandIns();
});
afterAll(() => standIns?.close());
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), "postern-failures-"));
  folder = join(scratch, "data");
  mkdirSync(folder, { mode: 0o700 });
});
afterEach(async () => {
  await postern?.stop();
  postern = undefined;
  rmSync(scratch, { recursive: true, force: true });
});

async function start(options: Parameters<typeof startPostern>[0] = {}): Promise<Postern> {
  postern = await startPostern({ folder, ...options });
  return postern;
}

async function prepare(on: Postern, agents = ["first-agent", "second-agent"]): Promise<void> {
  for (const [name, value] of Object.entries(standIns.secrets)) await on.setSecret(name, value);
  await on.apply(standIns.resources({ agents }));
}

const startAgent = (agent: string): Promise<RunningAgent> => RunningAgent.start({ folder, agent });

function chat(agent: RunningAgent): string {
  const body = JSON.stringify({ model: "gpt-4o-mini", messages: [] });
  return `POST /openai/v1/chat/completions HTTP/1.1\r\nHost: ${agent.authority}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

/** What the start says that does not come to its end. */
const startFailure = (at = folder): Promise<string> =>
  startPostern({ folder: at }).then(
    async (server) => {
      await server.stop();
      return "it started";
    },
    (error: Error) => error.message,
  );

async function verified(on: Postern): Promise<{ code: number; events: number }> {
  const file = join(scratch, "export.jsonl");
  await on.postern(["audit", "export", file]);
  const { code } = await on.postern(["audit", "verify", file]);
  return { code, events: readFileSync(file, "utf8").trimEnd().split("\n").length - 1 };
}

/** Every file with its bytes, to be compared. */
const contents = (at: string): Map<string, string> =>
  new Map(
    readdirSync(at, { recursive: true, encoding: "utf8" })
      .filter((name) => statSync(join(at, name)).isFile() && !/lock|-shm$/.test(name))
      .map((name) => [name, readFileSync(join(at, name)).toString("base64")]),
  );

describe("a place for the control socket that is none", () => {
  it.each<[string, (path: string) => void]>([
    ["a folder", (path) => mkdirSync(path)],
    ["a file, which is left as it is", (path) => writeFileSync(path, "mine")],
  ])("is refused in words: %s", async (_what, make) => {
    const path = join(folder, "control.sock");
    make(path);
    const message = await startFailure();
    expect(message).toContain(`${path} is not a socket: move it away`);
    expect(message).not.toMatch(/\n\s+at /);
    expect(existsSync(path)).toBe(true);
  });

  it("is refused where its path is too long", async () => {
    const long = join(scratch, "x".repeat(120));
    mkdirSync(long, { mode: 0o700 });
    expect(await startFailure(long)).toContain("is too long for a socket");
  });

  it("is taken over from a program that is no server, and from a server that is gone", async () => {
    const foreign: Server = createServer((socket) => void socket.end("mine")).listen(
      join(folder, "control.sock"),
    );
    await new Promise((resolve) => foreign.once("listening", resolve));
    const server = await start();
    expect((await server.postern(["status"])).code).toBe(0);
    foreign.close();
    process.kill(server.server.pid, "SIGKILL");
    await server.server.ended;
    const gone = await server.postern(["status"]);
    expect(gone.code).toBe(1);
    expect(gone.stderr).toContain("no server is running");
    // Closing the foreign listener took the name away; this one was left by the kill.
    copyFileSync(join(folder, "ca.pem"), join(scratch, "ca.pem"));
    expect((await (await start()).postern(["status"])).code).toBe(0);
    expect(readFileSync(join(folder, "ca.pem"))).toEqual(readFileSync(join(scratch, "ca.pem")));
  });
});

describe("a log that is damaged", () => {
  const bundle = (): string => join(folder, "audit", "tile", "entries", "000");

  it("behind what was signed keeps what is sound, puts the rest aside and says so", async () => {
    const first = await start();
    await prepare(first);
    const before = await verified(first);
    await first.stop();
    const sound = readFileSync(bundle());
    appendFileSync(bundle(), Buffer.from([0, 200, ...Buffer.from('{"half":')]));
    const again = await start();
    expect(again.log).toContain("the audit log was mended");
    const after = await verified(again);
    expect(after.code).toBe(0);
    expect(after.events).toBeGreaterThan(before.events);
    expect(readFileSync(bundle()).subarray(0, sound.length)).toEqual(sound);
    const aside = readdirSync(join(folder, "audit", "cut"));
    expect(aside.length).toBeGreaterThan(0);
    expect(readFileSync(join(folder, "audit", "cut", aside[0]!)).includes('{"half":')).toBe(true);
  });

  it("before that stops the start, is left as it is, and the message names what to do", async () => {
    const first = await start();
    await prepare(first);
    await first.stop();
    const bytes = readFileSync(bundle());
    bytes[200]! ^= 1;
    writeFileSync(bundle(), bytes);
    const before = contents(join(folder, "audit"));
    for (const _ of ["first", "second"]) {
      const message = await startFailure();
      expect(message).toMatch(/audit log/);
      expect(message).not.toMatch(/\n\s+at /);
    }
    expect(contents(join(folder, "audit"))).toEqual(before);
  });
});

const canMount = process.getuid?.() === 0 && canMountHere();

describe.skipIf(!canMount)("a data folder that can only be read", () => {
  it("is refused in words, and works again when it can be written", async () => {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", folder]);
    try {
      const first = await start();
      await prepare(first);
      await first.stop();
      execFileSync("mount", ["-o", "remount,ro", folder]);
      const message = await startFailure();
      expect(message).toContain(folder);
      expect(message).toMatch(/cannot be (written|created)|belongs/);
      expect(message).not.toMatch(/\n\s+at /);
      execFileSync("mount", ["-o", "remount,rw", folder]);
      const again = await start();
      const agent = await startAgent("first-agent");
      expect((await agent.send(chat(agent))).status).toBe(200);
      await agent.stop();
      await again.stop();
      postern = undefined;
    } finally {
      execFileSync("umount", ["-l", folder]);
    }
  });
});

function canMountHere(): boolean {
  try {
    execFileSync("sh", ["-c", "d=$(mktemp -d) && mount -t tmpfs tmpfs $d && umount $d && rmdir $d"], {
      stdio: "ignore",
    });
    return true;
  } catch {
    return false;
  }
}

describe("a server without a free file handle", () => {
  it("refuses new connections, serves those that are there, lets the operator cut, and recovers", async () => {
    const server = await start({ through: ["prlimit", "--nofile=300:300", "--"] });
    await prepare(server);
    const [greedy, modest] = await Promise.all([startAgent("first-agent"), startAgent("second-agent")]);
    const open = modest.connect();
    open.write(chat(modest));
    expect((await open.answer()).status).toBe(200);
    const taken = Array.from({ length: 600 }, () => {
      const connection = greedy.connect();
      connection.write("GET /"); // Never whole: it stays open.
      return connection;
    });
    await expect
      .poll(() => taken.filter(({ isClosed }) => isClosed).length, { timeout: 20_000 })
      .toBeGreaterThan(250);
    open.write(chat(modest));
    expect((await open.answer()).status).toBe(200);
    expect((await server.postern(["status"])).code).toBe(0);
    const cut = await server.postern(["cut", "first-agent"]);
    expect(cut).toMatchObject({ code: 0 });
    for (const connection of taken) connection.destroy();
    await server.postern(["restore", "first-agent"]);
    await expect
      .poll(async () => (await greedy.send(chat(greedy)).catch(() => undefined))?.status, { timeout: 10_000 })
      .toBe(200);
    expect((await verified(server)).code).toBe(0);
    await Promise.all([greedy.stop(), modest.stop()]);
  });
});

const FAKETIME = ["x86_64", "aarch64"]
  .map((arch) => `/usr/lib/${arch}-linux-gnu/faketime/libfaketimeMT.so.1`)
  .find((path) => existsSync(path));

describe.skipIf(FAKETIME === undefined)("a clock that jumps", () => {
  it("a day on and back again: what expires expires, tunnels go on, and the log stays whole", async () => {
    const file = join(scratch, "time");
    const shift = (text: string): void => writeFileSync(file, `${text}\n`);
    shift("+0");
    const server = await start({
      env: {
        LD_PRELOAD: FAKETIME!,
        FAKETIME_TIMESTAMP_FILE: file,
        FAKETIME_NO_CACHE: "1",
        FAKETIME_DONT_FAKE_MONOTONIC: "1",
      },
    });
    await prepare(server);
    const [first, second] = await Promise.all([startAgent("first-agent"), startAgent("second-agent")]);
    const expires = new Date(Date.now() + 3_600_000).toISOString();
    const resources = standIns.resources({ agents: ["first-agent", "second-agent"] });
    await server.apply(
      resources.replace(
        /(selectors: \[[^\]]*process:agent=first-agent"\]\n)/,
        `$1  expiresAt: "${expires}"\n`,
      ),
    );
    const ask = async (agent: RunningAgent) => {
      const { status, code } = await agent.send(chat(agent));
      return code ?? status;
    };
    const now = async () => {
      const { stdout } = await server.postern(["audit", "tail", "--json", "--lines", "1"]);
      return (JSON.parse(stdout) as { time: number }).time;
    };
    expect([await ask(first), await ask(second)]).toEqual([200, 200]);
    expect(Math.abs((await now()) - Date.now())).toBeLessThan(60_000);
    shift("+1d");
    expect([await ask(first), await ask(second)]).toEqual(["agent_quarantined", 200]);
    expect((await now()) - Date.now()).toBeGreaterThan(23 * 3_600_000);
    shift("-1d");
    expect([await ask(first), await ask(second)]).toEqual([200, 200]);
    expect((await now()) - Date.now()).toBeLessThan(-23 * 3_600_000);
    const tunnel = await second.tunnel("api.openai.com");
    tunnel.write(
      chat(second)
        .replace("/openai", "")
        .replace(/Host: .*/, "Host: api.openai.com"),
    );
    expect((await tunnel.answer()).status).toBe(200);
    shift("+0");
    const cut = await server.postern(["cut", "second-agent"]);
    expect(cut.code).toBe(0);
    expect([await ask(first), await ask(second)]).toEqual([200, "agent_quarantined"]);
    expect((await verified(server)).code).toBe(0);
    await Promise.all([first.stop(), second.stop()]);
  });
});
