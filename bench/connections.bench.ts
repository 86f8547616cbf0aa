// SPDX-License-Identifier: Apache-2.0
/**
 * What do ten thousand idle connections and a thousand streams at once cost the real server and an ordinary call?
 *
 * One run may have 4096 connections, or fewer where descriptors are scarce, so there are several runs.
 */
import { readdirSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { type Postern, type RunningProgram, startPostern, startStandIns } from "@postern/testkit";

const IDLE_RUNS = 5;
const IDLE_EACH = 2000;
const STREAMS = 1000;
const CALLS = 200;
const HOSTILE_AGENT = fileURLToPath(new URL("../e2e/hostile-agent.ts", import.meta.url));
const CALLER = fileURLToPath(new URL("paced-caller.ts", import.meta.url));

const standIns = await startStandIns({ endlessInterval: 1000 });
const folder = join(process.env["TMPDIR"] ?? "/tmp", `postern-connections-${process.pid}.sock`);
const postern = await startPostern({ args: ["--metrics-listen", `unix:${folder}`] });
try {
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  await postern.apply(standIns.resources({ agents: ["many", "ordinary"] }));
  process.stdout.write(`${JSON.stringify(await measure(postern))}\n`);
} finally {
  await postern.stop();
  await standIns.close();
}

async function measure({ server }: Postern) {
  const before = {
    mb: residentMb(server.pid),
    descriptors: descriptors(server.pid),
    call: await ordinaryCalls(),
  };
  const idle: RunningProgram[] = [];
  const startedAt = performance.now();
  for (let run = 0; run < IDLE_RUNS; run++) {
    idle.push(misuse("idle", IDLE_EACH));
    await until(() => descriptors(server.pid) - before.descriptors >= (run + 1) * IDLE_EACH);
  }
  const withIdle = { mb: residentMb(server.pid), seconds: seconds(startedAt) };
  const streaming = misuse("stream", STREAMS);
  await until(() => standIns.openai.openStreams >= STREAMS);
  await metrics();
  const call = await ordinaryCalls();
  const loop = await metrics();
  return {
    opened: [...idle, streaming].reduce((sum, program) => sum + count(program, "opened"), 0),
    closed: [...idle, streaming].reduce((sum, program) => sum + count(program, "closed"), 0),
    streaming: standIns.openai.openStreams,
    serverDescriptors: descriptors(server.pid),
    openedInSeconds: withIdle.seconds,
    rssMb: { before: before.mb, idle: withIdle.mb, streaming: residentMb(server.pid) },
    eventLoopDelayP99Ms:
      Math.round(Number(/^nodejs_eventloop_delay_p99_seconds (\S+)$/m.exec(loop)?.[1]) * 1e5) / 100,
    call: { before: before.call, meanwhile: call },
  };
}

function misuse(kind: string, connections: number): RunningProgram {
  return postern.start([
    "run",
    "--agent",
    "many",
    "--",
    process.execPath,
    HOSTILE_AGENT,
    kind,
    `${connections}`,
  ]);
}

function count({ stdout }: RunningProgram, what: "opened" | "closed"): number {
  return (JSON.parse(stdout.trimEnd().split("\n").at(-1)!) as Record<typeof what, number>)[what];
}

async function ordinaryCalls(): Promise<unknown> {
  const words = ["run", "--agent", "ordinary", "--", process.execPath, CALLER, String(CALLS / 20)];
  const result = await postern.postern(words);
  if (result.code !== 0) throw new Error(result.stdout + result.stderr);
  return JSON.parse(result.stdout) as unknown;
}

function metrics(): Promise<string> {
  return new Promise((resolve, reject) => {
    request({ socketPath: folder, path: "/metrics" }, (answer) => resolve(text(answer)))
      .once("error", reject)
      .end();
  });
}

async function until(isDone: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 1200 && !isDone(); attempt++)
    await new Promise((resolve) => setTimeout(resolve, 100));
  if (!isDone()) throw new Error("it did not come to that in two minutes");
}

function seconds(since: number): number {
  return Math.round((performance.now() - since) / 100) / 10;
}

function residentMb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/^VmRSS:\s*(\d+) kB/m.exec(status)![1]) / 1024);
}

function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
