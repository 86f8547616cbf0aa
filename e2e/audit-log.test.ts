// SPDX-License-Identifier: Apache-2.0
/** The log: complete when the server is killed, in the way when it cannot be written, and not to be changed unseen. */
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  findSecretsInFolder,
  startPostern,
  startStandIns,
  type Postern,
  type StandIns,
} from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

let standIns: StandIns;

beforeAll(async () => {
  standIns = await startStandIns({ endlessInterval: 20 });
});
afterAll(() => standIns?.close());
beforeEach(() => standIns.openai.forgetRequests());

async function prepare(postern: Postern): Promise<void> {
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  await postern.apply(standIns.resources());
}

function chat(agent: RunningAgent, model = "gpt-4o-mini", path = "/v1/chat/completions"): string {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "hi" }] });
  return `POST /openai${path} HTTP/1.1\r\nHost: ${agent.authority}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

interface Event {
  readonly metadata: { readonly uid: string };
  readonly unmapped: Readonly<Record<string, unknown>>;
  readonly http_request?: { readonly url: { readonly path: string } };
}

async function exported(
  postern: Postern,
  folder: string,
): Promise<{ file: string; lines: string[]; events: Event[] }> {
  const file = join(folder, "export.jsonl");
  expect((await postern.postern(["audit", "export", file])).code).toBe(0);
  const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
  const events = lines.map((line) => JSON.parse(line) as Event).filter((line) => line.unmapped !== undefined);
  return { file, lines, events };
}

describe("a server that is killed", () => {
  it("has logged the decision of every request that reached an upstream, and its log verifies", async () => {
    const folder = await mkdtemp(join(tmpdir(), "postern-e2e-kill-"));
    const aside = await mkdtemp(join(tmpdir(), "postern-e2e-aside-"));
    try {
      let reached = 0;
      for (let round = 0; round < 3; round++) {
        const postern = await startPostern({ folder });
        if (round === 0) await prepare(postern);
        // Each request has a path of its own, by which it is found in the log.
        if (round === 0)
          await postern.apply(
            standIns
              .resources()
              .replace(/(name: agents-may-use-openai[^]*?allow: ).*/, "$1{ everything: true }"),
          );
        const agent = await RunningAgent.start({ folder, agent: "demo-agent" });
        const target = reached + 40 + 25 * round;
        for (let lane = 0; lane < 8; lane++) void keepAsking(agent, `${round}-${lane}`);
        await expect
          .poll(() => standIns.openai.requests.length, { interval: 1, timeout: 20_000 })
          .toBeGreaterThan(target);
        process.kill(postern.server.pid, "SIGKILL");
        await postern.server.ended;
        await agent.stop();
        await postern.stop();
        reached = standIns.openai.requests.length;
      }
      const postern = await startPostern({ folder });
      const { file, events } = await exported(postern, aside);
      const allowed = events.filter(
        ({ unmapped }) => unmapped["kind"] === "decision" && unmapped["outcome"] === "allow",
      );
      const logged = new Set(allowed.map(({ http_request: http }) => http?.url.path));
      expect(reached).toBeGreaterThan(150);
      expect(
        standIns.openai.requests.map(({ target }) => target).filter((target) => !logged.has(target)),
      ).toEqual([]);
      const verified = await postern.postern(["audit", "verify", file]);
      expect(verified).toMatchObject({ code: 0 });
      process.stderr.write(
        `kill -9: ${reached} requests reached the upstream, ${allowed.length} allowing decisions are in the log\n`,
      );
      const { findings, filesRead } = await findSecretsInFolder(folder, standIns.secrets);
      expect(findings).toEqual([]);
      expect(filesRead).toBeGreaterThan(3);
      await postern.stop();
    } finally {
      await rm(folder, { recursive: true, force: true });
      await rm(aside, { recursive: true, force: true });
    }
  });
});

/** Until the connection breaks. */
async function keepAsking(agent: RunningAgent, lane: string): Promise<void> {
  const connection = agent.connect();
  try {
    for (let i = 0; ; i++) {
      connection.write(chat(agent, "gpt-4o-mini", `/v1/marked/${lane}/${i}`));
      await connection.answer();
    }
  } catch {
    // The server is gone, which is what this test is about.
  }
}

describe("a log that cannot be written", () => {
  const canMount = process.getuid?.() === 0 && isMountPossible();

  it.skipIf(!canMount)(
    "stops every request before it leaves, and does not keep a stream alive that is cut",
    async () => {
      const folder = await mkdtemp(join(tmpdir(), "postern-e2e-full-"));
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", folder]);
      let postern: Postern | undefined;
      try {
        postern = await startPostern({ folder });
        await prepare(postern);
        const agent = await RunningAgent.start({ folder, agent: "demo-agent" });
        expect((await agent.send(chat(agent))).status).toBe(200);
        const stream = agent.connect();
        stream.write(chat(agent, "stand-in-endless"));
        await stream.until((bytes) => bytes.includes("data: "));
        execFileSync("sh", ["-c", `dd if=/dev/zero of=${join(folder, "filler")} bs=4k 2>/dev/null; true`]);
        // What is left of the last page may still take an entry or two.
        let answer = await agent.send(chat(agent));
        for (let i = 0; i < 50 && answer.status === 200; i++) answer = await agent.send(chat(agent));
        standIns.openai.forgetRequests();
        answer = await agent.send(chat(agent));
        expect(answer).toMatchObject({ status: 503, code: "audit_unavailable" });
        const tunnel = await agent.send(
          "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
        );
        expect(tunnel).toMatchObject({ status: 503, code: "audit_unavailable" });
        expect(standIns.openai.requests).toEqual([]);
        const applied = await postern.postern(["apply", "-f", "-"], {
          input: "kind: TrustProvider\nmetadata: { name: other }\nspec: { kind: process }\n",
        });
        expect(applied.code).toBe(1);
        expect((await postern.postern(["get", "TrustProvider", "other"])).code).toBe(1);

        const cut = await postern.postern(["cut", "demo-agent"]);
        expect(cut.code).toBe(1);
        expect(cut.stderr).toContain("demo-agent is cut off");
        await stream.closed();
        await expect.poll(() => standIns.openai.openStreams).toBe(0);
        execFileSync("rm", [join(folder, "filler")]);
        await agent.stop();
        await postern.stop();
        postern = undefined;
      } finally {
        await postern?.stop();
        execFileSync("umount", ["-l", folder]);
        await rm(folder, { recursive: true, force: true });
      }
    },
  );
});

function isMountPossible(): boolean {
  try {
    const script = "d=$(mktemp -d) && mount -t tmpfs tmpfs $d && umount $d && rmdir $d";
    execFileSync("sh", ["-c", script], { stdio: "ignore" });
    return true;
  } catch {
    process.stderr.write("skipped: a full disk needs a tmpfs, and none can be mounted here\n");
    return false;
  }
}

describe("an export", () => {
  let postern: Postern;
  let aside: string;
  let lines: string[];

  beforeAll(async () => {
    aside = await mkdtemp(join(tmpdir(), "postern-e2e-export-"));
    postern = await startPostern();
    await prepare(postern);
    const agent = await RunningAgent.start({ folder: postern.folder, agent: "demo-agent" });
    for (let i = 0; i < 5; i++) await agent.send(chat(agent));
    await agent.stop();
    ({ lines } = await exported(postern, aside));
  });
  afterAll(async () => {
    await postern?.stop();
    await rm(aside, { recursive: true, force: true });
  });

  const verify = async (changed: readonly string[], more: readonly string[] = []) => {
    const file = join(aside, "changed.jsonl");
    await writeFile(file, changed.join("\n") + "\n");
    return postern.postern(["audit", "verify", file, ...more]);
  };

  it("verifies as it is, and under the key that the server named", async () => {
    expect(lines.filter((line) => line.includes('"outcome":"allow"'))).toHaveLength(5);
    expect(await verify(lines)).toMatchObject({ code: 0 });
    const { auditKey } = JSON.parse((await postern.postern(["status", "--json"])).stdout) as {
      auditKey: string;
    };
    expect(await verify(lines, ["--key", auditKey])).toMatchObject({ code: 0 });
    // Name, hash and key; the key is base64 and may hold a plus sign of its own.
    const [, head = "", key = ""] = /^([^+]+\+[^+]+\+)(.+)$/.exec(auditKey) ?? [];
    const other = head + Buffer.from(key, "base64").fill(7, 1).toString("base64");
    expect((await verify(lines, ["--key", other])).code).toBe(1);
  });

  it.each<[string, (all: string[]) => string[]]>([
    [
      "one byte is changed",
      (all) =>
        all.with(
          4,
          all[4]!.replace(/"time":(\d)/, (_m, digit: string) => `"time":${(Number(digit) + 1) % 10}`),
        ),
    ],
    ["an agent's name is changed", (all) => all.map((line) => line.replaceAll("demo-agent", "demo-agenx"))],
    ["an event is removed", (all) => all.toSpliced(5, 1)],
    ["the last event is removed", (all) => all.toSpliced(all.length - 2, 1)],
    ["two events are swapped", (all) => all.with(5, all[6]!).with(6, all[5]!)],
    ["an event is repeated", (all) => all.toSpliced(5, 0, all[5]!)],
    ["the checkpoint is missing", (all) => all.slice(0, -1)],
    [
      "the checkpoint says less",
      (all) =>
        all.with(
          -1,
          all.at(-1)!.replace(/\\n(\d+)\\n/, (_m, n: string) => `\\n${Number(n) - 1}\\n`),
        ),
    ],
    ["nothing is left", () => [""]],
  ])("does not verify when %s", async (_name, change) => {
    const changed = change([...lines]);
    expect(changed).not.toEqual(lines);
    const result = await verify(changed);
    expect(result.code).toBe(1);
    expect(result.stdout).toMatch(/^NOT VERIFIED/);
  });

  it("is refused with an exit code of its own where there is no such file", async () => {
    const result = await postern.postern(["audit", "verify", join(aside, "missing.jsonl")]);
    expect(result.code).toBeGreaterThan(0);
    expect(result.stderr + result.stdout).toContain("missing.jsonl");
  });
});
