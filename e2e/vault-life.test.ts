// SPDX-License-Identifier: Apache-2.0
/** The vault's life on one machine: the key changes, backups are taken and used, versions come and go, keys get lost. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startPostern, startStandIns, type Postern, type StandIns } from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

let scratch: string;
let standIns: StandIns;
let postern: Postern;
let agent: RunningAgent;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), "postern-life-"));
  standIns = await startStandIns();
  postern = await startPostern({ folder: join(scratch, "data") });
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  await postern.apply(standIns.resources({ agents: ["first-agent"] }));
  agent = await RunningAgent.start({ folder: postern.folder, agent: "first-agent" });
});

afterAll(async () => {
  await agent?.stop();
  await postern?.stop();
  await standIns?.close();
  rmSync(scratch, { recursive: true, force: true });
});

async function ask(by: RunningAgent): Promise<number> {
  const body = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hi" }] });
  const connection = by.connect();
  connection.write(
    `POST /openai/v1/chat/completions HTTP/1.1\r\nHost: ${by.authority}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  const { status } = await connection.answer();
  connection.destroy();
  return status;
}

/** A server on `folder`, an agent through it, and whether its log verifies. */
async function useRestored(folder: string): Promise<{ status: number; verify: string }> {
  const restored = await startPostern({ folder });
  try {
    const run = await RunningAgent.start({ folder, agent: "first-agent" });
    const status = await ask(run);
    await run.stop();
    const log = join(scratch, `${Date.now()}.jsonl`);
    await restored.postern(["audit", "export", log]);
    const { stdout, stderr, code } = await restored.postern(["audit", "verify", log]);
    return { status, verify: `${code} ${stdout}${stderr}` };
  } finally {
    await restored.stop();
  }
}

const startFailure = (folder: string): Promise<string> =>
  startPostern({ folder }).then(
    async (server) => {
      await server.stop();
      return "started";
    },
    (error: Error) => error.message,
  );

describe("secret versions", () => {
  it("are listed with their times, without a value, and are all gone after delete", async () => {
    await postern.setSecret("spare", "first-value-of-it");
    await postern.setSecret("spare", "second-value-of-it");
    const { stdout } = await postern.postern(["secret", "list", "--versions"]);
    expect(stdout).toMatch(/^spare {2}version 1 {2}\S+Z\nspare {2}version 2 {2}\S+Z {2}in use$/m);
    expect(stdout).not.toContain("value-of-it");
    expect((await postern.postern(["secret", "delete", "spare"])).code).toBe(0);
    expect((await postern.postern(["secret", "list", "--versions"])).stdout).not.toContain("spare");
    await postern.setSecret("spare", "third");
    expect((await postern.postern(["secret", "list", "--versions"])).stdout).toMatch(/spare {2}version 3/);
  });
});

describe("the master key", () => {
  it("is rotated while requests go on, and the server starts with the new one afterwards", async () => {
    const before = readFileSync(join(postern.folder, "master.key"));
    const statuses: number[] = [];
    let isDone = false;
    const asking = (async () => {
      while (!isDone) statuses.push(await ask(agent));
    })();
    const { stdout, code } = await postern.postern(["vault", "rotate-key", "--json"]);
    isDone = true;
    await asking;
    expect(code).toBe(0);
    expect(new Set(statuses)).toEqual(new Set([200]));
    const { keptAt, values } = JSON.parse(stdout) as { keptAt: string; values: number };
    expect(values).toBeGreaterThanOrEqual(6);
    expect(readFileSync(keptAt)).toEqual(before);
    expect(readFileSync(join(postern.folder, "master.key"))).not.toEqual(before);
    const events = (await postern.postern(["audit", "tail", "--json"])).stdout;
    expect(events).toContain('"resource_kind":"MasterKey"');
    await agent.stop();
    await postern.server.stop();
    postern = await startPostern({ folder: postern.folder });
    agent = await RunningAgent.start({ folder: postern.folder, agent: "first-agent" });
    expect(await ask(agent)).toBe(200);
  });

  it("that cannot be read is no reason to change anything", async () => {
    const refused = await postern.postern(["vault", "rotate-key", "--to", "file:/nowhere/key"]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("/nowhere/key cannot be read");
    expect(await ask(agent)).toBe(200);
  });
});

describe("a backup", () => {
  it("taken under load holds no key and no secret, and a new folder with the key is a working server", async () => {
    const file = join(scratch, "backup.tar");
    const asking = Promise.all(Array.from({ length: 20 }, () => ask(agent)));
    const made = await postern.postern(["backup", "create", file]);
    await asking;
    expect(made.stdout).toContain("without the master key");
    expect(made.stderr).toContain("it is not in the file");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const bytes = readFileSync(file);
    const masterKey = readFileSync(join(postern.folder, "master.key"));
    for (const secret of [masterKey, ...Object.values(standIns.secrets).map((value) => Buffer.from(value))])
      expect(bytes.includes(secret)).toBe(false);
    expect(readdirSync(postern.folder).filter((name) => name.startsWith("backup-"))).toEqual([]);

    const folder = join(scratch, "restored");
    const restored = await postern.postern(["backup", "restore", file, "--data", folder]);
    expect(restored.stderr).toContain("put the master key");
    expect(await startFailure(folder)).toContain("the master key is lost");
    copyFileSync(join(postern.folder, "master.key"), join(folder, "master.key"));
    const used = await useRestored(folder);
    expect(used.status).toBe(200);
    expect(used.verify).toMatch(/^0 /);
  });

  it("with the master key says so and needs nothing else", async () => {
    const file = join(scratch, "whole.tar");
    const made = await postern.postern(["backup", "create", file, "--with-master-key"]);
    expect(made.stdout).toContain("WITH the master key");
    expect(made.stderr).toContain("keep the file like the secrets themselves");
    const folder = join(scratch, "whole");
    expect((await postern.postern(["backup", "restore", file, "--data", folder])).code).toBe(0);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect((await useRestored(folder)).status).toBe(200);
    const again = await postern.postern(["backup", "restore", file, "--data", folder]);
    expect(again.code).toBe(1);
    expect(again.stderr).toContain("is not empty: nothing is overwritten");
    expect((await postern.postern(["backup", "create", file])).stderr).toContain("is there already");
  });

  it.each<[string, (file: string, bytes: Buffer) => void]>([
    ["cut short", (file, bytes) => truncateSync(file, bytes.length - 5000)],
    ["altered in one byte", (file, bytes) => writeFileSync(file, bytes.fill(bytes[5000]! ^ 1, 5000, 5001))],
    ["something else", (file) => writeFileSync(file, "my notes")],
    ["with another name in it", (file, bytes) => writeFileSync(file, bytes.fill("../evil.db\0", 0, 11))],
  ])("that is %s is refused, and nothing is left", async (_what, harm) => {
    const good = join(scratch, "good.tar");
    if (!existsSync(good)) await postern.postern(["backup", "create", good]);
    const file = join(scratch, "harmed.tar");
    copyFileSync(good, file);
    harm(file, readFileSync(file));
    const names = readdirSync(scratch);
    const refused = await postern.postern(["backup", "restore", file, "--data", join(scratch, "never")]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("is not a whole backup of postern");
    expect(readdirSync(scratch)).toEqual(names);
  });
});

describe("a start that cannot be", () => {
  const copyOf = async (name: string): Promise<string> => {
    const file = join(scratch, `${name}.tar`);
    await postern.postern(["backup", "create", file, "--with-master-key"]);
    const folder = join(scratch, name);
    await postern.postern(["backup", "restore", file, "--data", folder]);
    return folder;
  };

  it("says which: key lost, key of another installation, second server, damaged database", async () => {
    const folder = await copyOf("troubled");
    const [key, aside] = [join(folder, "master.key"), join(scratch, "aside.key")];
    renameSync(key, aside);
    expect(await startFailure(folder)).toContain("the master key is lost");
    writeFileSync(key, Buffer.alloc(32, 7), { mode: 0o600 });
    expect(await startFailure(folder)).toContain("wrong master key");
    rmSync(key);
    renameSync(aside, key);
    expect(await startFailure(postern.folder)).toContain(`is in use by process ${postern.server.pid}`);
    expect(await startFailure(folder)).toBe("started");
    const database = join(folder, "postern.db");
    const bytes = readFileSync(database);
    writeFileSync(database, bytes.fill(0xff, 4096, 4096 * 4));
    expect(await startFailure(folder)).toMatch(/is damaged: stop the server/);
    mkdirSync(join(scratch, "empty"));
    expect(await startFailure(join(scratch, "empty"))).toContain("run: chmod 700");
  });
});
