// SPDX-License-Identifier: Apache-2.0
/**
 * What does the gate cost? Keep-alive, 32 connections, 1 KB POST, 600 B answers, TLS upstream, against nginx
 * that only sets a static header, in the same run. The gateway and nginx have core 0, load and upstream core 1.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createTestAuthority, type Postern, startPostern } from "@postern/testkit";
import { PORTS, proxyConfig, startNginx, upstreamConfig } from "./gateway/nginx.ts";
import { setUp } from "./gateway/set-up.ts";
import { answerBody, requestBody, wrkRate, wrkWords, writeWrkScript } from "./gateway/wrk.ts";

const SECONDS = Number(process.argv.find((word) => word.startsWith("--seconds="))?.slice(10) ?? "5");
const WARM_UP = 5;
const CUTS = 100;
const folder = mkdtempSync(join(tmpdir(), "postern-bench-"));
const tls = {
  ca: join(folder, "ca.pem"),
  certificate: join(folder, "cert.pem"),
  key: join(folder, "key.pem"),
};
const script = (name: string): string => fileURLToPath(new URL(`gateway/${name}.ts`, import.meta.url));
const [CLIENT, TUNNEL, EVENT_UPSTREAM] = [script("client"), script("tunnel"), script("event-upstream")];
const children: ChildProcess[] = [];

try {
  console.log(JSON.stringify(await measure()));
} finally {
  for (const child of children) child.kill("SIGTERM");
  rmSync(folder, { recursive: true, force: true });
}

async function measure(): Promise<Record<string, unknown>> {
  const authority = await createTestAuthority();
  const certificate = await authority.issue(["api.openai.com", "events.example", "127.0.0.1", "localhost"]);
  writeFileSync(tls.ca, authority.certificate);
  writeFileSync(tls.certificate, certificate.certificate);
  writeFileSync(tls.key, certificate.privateKey, { mode: 0o600 });
  const upstream = {
    name: "upstream",
    core: 1,
    servers: upstreamConfig(tls, answerBody),
    port: PORTS.upstream,
  };
  children.push(await startNginx(folder, upstream));
  const proxy = { name: "proxy", core: 0, servers: proxyConfig(tls), port: PORTS.plain };
  children.push(await startNginx(folder, proxy));
  writeWrkScript(folder);
  writeFileSync(join(folder, "body.json"), requestBody);
  const eventPort = await startEventUpstream();
  const postern = await startPostern();
  try {
    await setUp(postern, authority.certificate, eventPort);
    execFileSync("taskset", ["-apc", "0", String(serverPid(postern))]);
    const atRest = residentMb(serverPid(postern));
    return {
      ...(await throughput(postern)),
      ...(await addedTimes(postern, eventPort)),
      cutP99Ms: await cutTime(postern),
      scrubMbPerSecond: scrubSpeed(),
      rssAtRestMb: round(atRest),
      rssMb: round(residentMb(serverPid(postern))),
      node: process.version,
      cpu: cpus()[0]?.model,
    };
  } finally {
    await postern.stop();
  }
}

async function throughput(postern: Postern): Promise<Record<string, number>> {
  const direct = wrkRate(outside(wrkOf(`https://127.0.0.1:${PORTS.upstream}/v1/chat/completions`)));
  const nginx = wrkRate(outside(wrkOf(`http://127.0.0.1:${PORTS.plain}/v1/chat/completions`)));
  const nginxTls = h2load(outside(h2loadWords(String(PORTS.terminating))));
  const viaBaseUrl = `exec taskset -c 1 ${wrkOf("$POSTERN_GATE/openai/v1/chat/completions")}`;
  // What Node compiles while the first thousands of requests pass is not what a request costs.
  await inside(postern, `exec taskset -c 1 ${wrkOf("$POSTERN_GATE/openai/v1/chat/completions", WARM_UP)}`);
  const cpuBefore = cpuSeconds(serverPid(postern));
  const gate = wrkRate(await inside(postern, viaBaseUrl));
  const cpu = cpuSeconds(serverPid(postern)) - cpuBefore;
  const tunnel = `taskset -c 1 "${process.execPath}" "${TUNNEL}" "$POSTERN_GATE" api.openai.com:443 > "${folder}/tunnel" & tunnel=$!
    until port=$(cat "${folder}/tunnel") && [ -n "$port" ]; do sleep 0.05; done
    taskset -c 1 ${h2loadWords("$port")}; kill $tunnel`;
  const intercepted = h2load(await inside(postern, tunnel));
  return {
    upstreamRps: direct,
    nginxRps: nginx,
    rps: gate,
    ratioToNginx: round(gate / nginx),
    cpuUsPerRequest: round((cpu * 1e6) / (gate * SECONDS)),
    nginxTerminatingRps: nginxTls,
    interceptRps: intercepted,
    interceptRatioToNginx: round(intercepted / nginxTls),
  };
}

function wrkOf(url: string, seconds = SECONDS): string {
  return wrkWords(folder, url, seconds);
}

/** What the gate adds at a thousand requests a second, and to the first byte of a stream. */
async function addedTimes(postern: Postern, eventPort: number): Promise<Record<string, number>> {
  const upstream = `https://127.0.0.1:${PORTS.upstream}/v1`;
  const events = `https://127.0.0.1:${eventPort}/v1`;
  const direct = quantilesOf(outside(clientWords("rate", upstream)));
  const gated = quantilesOf(
    await inside(postern, `exec taskset -c 1 ${clientWords("rate", "$POSTERN_GATE/openai/v1")}`),
  );
  const directStream = quantilesOf(outside(clientWords("stream", events)));
  const gatedStream = quantilesOf(
    await inside(postern, `exec taskset -c 1 ${clientWords("stream", "$POSTERN_GATE/events/v1")}`),
  );
  return {
    addedP50Us: gated.p50Us - direct.p50Us,
    addedP99Us: gated.p99Us - direct.p99Us,
    addedTtfbUs: gatedStream.p50Us - directStream.p50Us,
    addedTtfbP99Us: gatedStream.p99Us - directStream.p99Us,
  };
}

function clientWords(mode: string, base: string, path = "/chat/completions"): string {
  return `"${process.execPath}" "${CLIENT}" ${mode} "${base}" ${path} "${tls.ca}"`;
}

function quantilesOf(line: string): { p50Us: number; p99Us: number } {
  return JSON.parse(line) as { p50Us: number; p99Us: number };
}

/** From when an operator's call leaves until the agent's stream has ended, in milliseconds. */
async function cutTime(postern: Postern): Promise<number> {
  const command = "exec taskset -c 1 " + clientWords("open", "$POSTERN_GATE/events/v1", "/responses");
  const program = postern.start(["run", "--agent", "bench", "--", "sh", "-c", command]);
  const times: number[] = [];
  for (let cut = 0; cut < CUTS; cut++) {
    // One after the other: the time of each is what is measured.
    // oxlint-disable no-await-in-loop
    await program.line((line) => line === `open ${cut}`);
    const startedAt = performance.timeOrigin + performance.now();
    await operate(postern, "cut");
    const ended = await program.line((line) => line.startsWith(`ended ${cut} `));
    times.push(Number(ended.split(" ")[2]) - startedAt);
    await operate(postern, "restore");
    // oxlint-enable no-await-in-loop
  }
  await program.ended;
  return round(times.toSorted((a, b) => a - b)[Math.floor(CUTS * 0.99) - 1]!);
}

function operate(postern: Postern, verb: "cut" | "restore"): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = {
      socketPath: join(postern.folder, "control.sock"),
      method: "POST",
      path: `/v1/agents/bench/${verb}`,
      headers: { host: "postern", "content-type": "application/json" },
    };
    const call = request(options, (answer) => {
      answer.resume().once("end", resolve);
      if (answer.statusCode !== 200) reject(new Error(`${verb} was answered with ${answer.statusCode}`));
    });
    call.once("error", reject).end("{}");
  });
}

function scrubSpeed(): number {
  const bench = fileURLToPath(new URL("scrub.bench.ts", import.meta.url));
  const words = ["-c", "1", process.execPath, "--expose-gc", bench];
  return (JSON.parse(execFileSync("taskset", words, { encoding: "utf8" })) as { scrubMbPerSecond: number })
    .scrubMbPerSecond;
}

async function startEventUpstream(): Promise<number> {
  const child = spawn("taskset", ["-c", "1", process.execPath, EVENT_UPSTREAM, tls.key, tls.certificate], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return Number(line.toString());
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** wrk knows no name but that in the URL; behind a tunnel the name is the upstream's and the port is ours. */
function h2loadWords(port: string): string {
  const headers = "-H 'content-type: application/json' -H 'authorization: Bearer placeholder'";
  const post = `-d "${join(folder, "body.json")}" --connect-to=127.0.0.1:${port}`;
  return `h2load --h1 -t1 -c32 -D${SECONDS} --warm-up-time=1 ${headers} ${post} https://api.openai.com/v1/chat/completions`;
}

function outside(command: string): string {
  return execFileSync("sh", ["-c", `exec taskset -c 1 ${command}`], { encoding: "utf8" });
}

async function inside(postern: Postern, command: string): Promise<string> {
  const result = await postern.postern(["run", "--agent", "bench", "--", "sh", "-c", command]);
  if (result.code > 0 && result.stdout === "") throw new Error(result.stderr);
  return result.stdout;
}

/** Requests a second by what h2load printed; throws where any failed. */
function h2load(output: string): number {
  const done = /requests: .*? (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored/.exec(output);
  const statuses = /status codes: (\d+) 2xx/.exec(output)?.[1];
  if (done === null || done[1] !== statuses || Number(done[1]) === 0)
    throw new Error(`requests failed:\n${output}`);
  return Math.round(Number(done[1]) / SECONDS);
}

/** `./postern up` replaces itself by the server: the process keeps its number. */
function serverPid(postern: Postern): number {
  return postern.server.pid;
}

function residentMb(pid: number): number {
  return Number(/^VmRSS:\s*(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
}

/** Time on a core, in user and system mode, in all threads. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
