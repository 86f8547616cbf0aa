// SPDX-License-Identifier: Apache-2.0
/**
 * What does a flooding agent cost its neighbour? 256 connections as fast as they go, beside a neighbour of twenty
 * calls a second, and beside one at full load on 32 connections. Gateway on core 0, loads and upstream on core 1.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createTestAuthority, type Postern, type RunningProgram, startPostern } from "@postern/testkit";

const SECONDS = Number(process.argv.find((word) => word.startsWith("--seconds="))?.slice(10) ?? "5");
const CALLER = fileURLToPath(new URL("paced-caller.ts", import.meta.url));
const PORT = 18_445;
const folder = mkdtempSync(join(tmpdir(), "postern-flood-"));
const authority = await createTestAuthority();
const upstream = await startUpstream();
const postern = await startPostern();
try {
  await setUp(postern);
  execFileSync("taskset", ["-apc", "0", String(postern.server.pid)]);
  process.stdout.write(`${JSON.stringify(await measure())}\n`);
} finally {
  await postern.stop();
  upstream.kill("SIGTERM");
  rmSync(folder, { recursive: true, force: true });
}

async function measure() {
  const alone = await paced();
  const flood = load("evil", 256, SECONDS + 4);
  await connected(256);
  const beside = await paced();
  await flood.ended;
  const fullAlone = rate(await load("victim", 32, SECONDS).ended);
  const second = load("evil", 256, SECONDS + 4);
  await connected(256);
  const fullBeside = rate(await load("victim", 32, SECONDS).ended);
  const flooder = rate(await second.ended);
  return {
    alone,
    beside,
    fullAlone,
    fullBeside,
    flooder,
    shareOfNeighbour: Math.round((fullBeside / (fullBeside + flooder)) * 1000) / 1000,
  };
}

async function paced(): Promise<unknown> {
  const words = [
    "run",
    "--agent",
    "victim",
    "--",
    "taskset",
    "-c",
    "1",
    process.execPath,
    CALLER,
    String(SECONDS),
  ];
  const result = await postern.postern(words);
  if (result.code !== 0) throw new Error(result.stdout + result.stderr);
  return JSON.parse(result.stdout) as unknown;
}

function load(agent: string, connections: number, seconds: number): RunningProgram {
  const script = `exec taskset -c 1 wrk -t1 -c${connections} -d${seconds}s -s '${join(folder, "post.lua")}' "$OPENAI_BASE_URL/chat/completions"`;
  return postern.start(["run", "--agent", agent, "--", "sh", "-c", script]);
}

function rate({ stdout, stderr }: { stdout: string; stderr: string }): number {
  const [, requests, microseconds, bad] = /RESULT (\d+) (\d+) (\d+)/.exec(stdout) ?? [];
  if (bad !== "0") throw new Error(`requests failed:\n${stdout}${stderr}`);
  return Math.round(Number(requests) / (Number(microseconds) / 1e6));
}

/** Waits until the server has that many connections more than a handful. */
async function connected(count: number): Promise<void> {
  const list = `/proc/${postern.server.pid}/fd`;
  for (let attempt = 0; attempt < 200; attempt++) {
    const open = execFileSync("ls", [list], { encoding: "utf8" }).split("\n").length;
    if (open > count) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the flood did not begin");
}

async function setUp({ setSecret, apply }: Postern): Promise<void> {
  const body = JSON.stringify({
    model: "gpt-4o-mini",
    messages: [{ role: "user", content: "x".repeat(950) }],
  });
  writeFileSync(
    join(folder, "post.lua"),
    `wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = [==[${body}]==]
done = function(summary)
  local bad = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status
  io.write(string.format("RESULT %d %d %d\\n", summary.requests, summary.duration, bad))
end
`,
  );
  await setSecret("openai-key", "sk-proj-benchmark-0123456789abcdef");
  const agents = ["evil", "victim"];
  const documents = [
    { kind: "TrustProvider", metadata: { name: "local" }, spec: { kind: "process" } },
    ...agents.map((name) => ({
      kind: "Agent",
      metadata: { name },
      spec: { trustProvider: "local", selectors: [`process:agent=${name}`] },
    })),
    {
      kind: "ServerWorkload",
      metadata: { name: "openai" },
      spec: {
        profile: "openai",
        connectTo: { address: "127.0.0.1", port: PORT },
        allowedNetworks: ["127.0.0.0/8"],
        caCertificates: authority.certificate,
      },
    },
    {
      kind: "CredentialProvider",
      metadata: { name: "openai-key" },
      spec: { kind: "vault", secret: "openai-key", serverWorkloads: ["openai"] },
    },
    {
      kind: "AccessPolicy",
      metadata: { name: "bench" },
      spec: {
        agents,
        serverWorkload: "openai",
        credentialProvider: "openai-key",
        allow: { models: ["gpt-4o-mini"], operations: ["chat.completions"] },
      },
    },
  ];
  await apply(documents.map((document) => JSON.stringify(document)).join("\n---\n"));
}

async function startUpstream() {
  const { certificate, privateKey } = await authority.issue(["api.openai.com"]);
  writeFileSync(join(folder, "cert.pem"), certificate);
  writeFileSync(join(folder, "key.pem"), privateKey, { mode: 0o600 });
  const answer = JSON.stringify({
    id: "x",
    usage: { prompt_tokens: 9, completion_tokens: 1 },
    x: "y".repeat(515),
  });
  const config = join(folder, "nginx.conf");
  writeFileSync(
    config,
    `worker_processes 1; daemon off; pid ${folder}/nginx.pid; error_log ${folder}/nginx.log; events { worker_connections 4096; }
    http { access_log off; client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f;
    uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s; server { listen 127.0.0.1:${PORT} ssl; keepalive_requests 100000000;
    ssl_certificate ${folder}/cert.pem; ssl_certificate_key ${folder}/key.pem; default_type application/json;
    location / { return 200 '${answer}'; } } }`,
  );
  const nginx = spawn("taskset", ["-c", "1", "nginx", "-c", config], { stdio: "inherit" });
  while (!(await listens())) await new Promise((resolve) => setTimeout(resolve, 50));
  return nginx;
}

function listens(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(PORT, "127.0.0.1", () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
