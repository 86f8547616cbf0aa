// SPDX-License-Identifier: Apache-2.0
/**
 * The search that every test with a Postern ends with (`stop` in the testkit): does it find a secret wherever one
 * could get to, and does it find none in the memory of an agent that tried to get it?
 */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  findSecrets,
  hasPostgres,
  LeakError,
  newMarkedSecret,
  startPostern,
  startPostgres,
  startProgram,
  startStandIns,
  stopAllPrograms,
  type Postern,
  type StandIns,
} from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

const isRoot = process.getuid?.() === 0;

let standIns: StandIns;
beforeAll(async () => {
  standIns = await startStandIns({ endlessInterval: 10 });
});
afterAll(() => standIns?.close());

async function prepared(): Promise<Postern> {
  const postern = await startPostern();
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  await postern.apply(standIns.resources());
  return postern;
}

const base64 = (text: string): string => Buffer.from(`Bearer ${text}`).toString("base64");
const temporaryFolderOf = ({ server }: Postern): string =>
  /(?:^|\0)TMPDIR=([^\0]*)/.exec(readFileSync(`/proc/${server.pid}/environ`, "utf8"))![1]!;

describe("the search at the end finds a secret", () => {
  it.each<[string, (postern: Postern, secret: string) => Promise<unknown> | void]>([
    [
      "in the data folder",
      (postern, secret) => writeFileSync(join(postern.folder, "audit", "x"), base64(secret)),
    ],
    [
      "in the server's temporary folder",
      (postern, secret) =>
        writeFileSync(join(temporaryFolderOf(postern), "x"), Buffer.from(secret).toString("hex")),
    ],
    [
      "in what a command printed",
      (postern, secret) =>
        postern.postern(["run", "--", "sh", "-c", `printf %s '${base64(secret)}' | base64 -d`]),
    ],
    [
      "in the words of a process",
      async (_postern, secret) => {
        const program = startProgram("sh", ["-c", "echo up; sleep 1000", base64(secret)]);
        await program.line((line) => line === "up");
      },
    ],
    [
      "in the environment of a process",
      async (_postern, secret) => {
        const program = startProgram("sh", ["-c", "echo up; sleep 1000"], { env: { PLANTED: secret } });
        await program.line((line) => line === "up");
      },
    ],
  ])("%s", async (_where, plant) => {
    const postern = await prepared();
    await plant(postern, standIns.secrets["openai-key"]!);
    await expect(postern.stop()).rejects.toThrow(LeakError);
    expect(existsSync(postern.folder)).toBe(false);
    await stopAllPrograms();
  });

  it("in an answer that an agent got", async () => {
    const postern = await prepared();
    const agent = await RunningAgent.start({ folder: postern.folder, agent: "demo-agent" });
    const reversed = Buffer.from(standIns.secrets["openai-key"]!).reverse().toString("latin1");
    const connection = agent.connect();
    connection.hear({
      event: "data",
      id: 0,
      at: 0,
      bytes: Buffer.from(reversed.slice(0, 10)).toString("base64"),
    });
    connection.hear({
      event: "data",
      id: 0,
      at: 0,
      bytes: Buffer.from(reversed.slice(10)).toString("base64"),
    });
    await expect(agent.stop()).rejects.toThrow("in answer to an agent");
    await postern.stop();
  });

  it.skipIf(!hasPostgres())("in PostgreSQL's files", async () => {
    const database = await startPostgres();
    const url = await database.createDatabase();
    await database.query(url, `create table planted as select '${standIns.secrets["openai-key"]}' as value`);
    await database.query(url, "checkpoint");
    await expect(database.remove()).rejects.toThrow(LeakError);
  });

  it("and none where there is none", async () => {
    const postern = await prepared();
    await postern.stop();
    expect(existsSync(postern.folder)).toBe(false);
  });
});

/** Everything that a process can write to, and what it was started with. */
function* memoryOf(pid: number): Iterable<Buffer> {
  const memory = openSync(`/proc/${pid}/mem`, "r");
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, "latin1").split("\n")) {
      const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
      if (from === undefined || to === undefined) continue;
      const [start, end] = [BigInt(`0x${from}`), BigInt(`0x${to}`)];
      for (let at = start; at < end; at += 4n << 20n) {
        const piece = Buffer.alloc(Number(end - at < 4n << 20n ? end - at : 4n << 20n));
        try {
          yield piece.subarray(0, readSync(memory, piece, 0, piece.length, at));
        } catch {
          // A guard page, or memory that nobody has touched.
        }
      }
    }
  } finally {
    closeSync(memory);
  }
}

const processesOfRun = (run: string): number[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "latin1").includes(`POSTERN_RUN=${run}`);
      } catch {
        return false;
      }
    });

describe.skipIf(!isRoot)("an agent that makes an upstream say its key in every way", () => {
  it("has the key nowhere in its memory; what it was sent otherwise is there", async () => {
    const postern = await prepared();
    const agent = await RunningAgent.start({ folder: postern.folder, agent: "demo-agent" });
    const known = newMarkedSecret("seen-");
    for (const model of ["echo", "echo-split", "echo-stream", "echo-gzip", "echo-error"]) {
      const body = JSON.stringify({ model: `stand-in-${model}`, messages: [known] });
      await agent.send(
        `POST /openai/v1/chat/completions HTTP/1.1\r\nHost: ${agent.authority}\r\nx-seen: ${known}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
    }
    const pids = processesOfRun(agent.environment["POSTERN_RUN"]!);
    expect(pids.length).toBeGreaterThan(0);
    const found = (secrets: Record<string, string>) =>
      pids.flatMap((pid) =>
        [...memoryOf(pid)].flatMap((piece) => findSecrets(`memory of ${pid}`, piece, secrets)),
      );
    expect(found({ known })).not.toEqual([]);
    expect(found(standIns.secrets)).toEqual([]);
    await agent.stop();
    await postern.stop();
  });
});
