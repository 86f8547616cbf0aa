// SPDX-License-Identifier: Apache-2.0
/**
 * What does the gate cost? Keep-alive, 32 connections, 1 KB POST, 600 B answers, TLS upstream, against nginx
 * that only sets a static header, in the same run. The gateway and nginx have core 0, load and upstream core 1.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestAuthority, type Postern, startPostern } from "@postern/testkit";

const SECONDS = Number(process.argv.find((word) => word.startsWith("--seconds="))?.slice(10) ?? "5");
const WARM_UP = 5;
const folder = mkdtempSync(join(tmpdir(), "postern-bench-"));
const children: ChildProcess[] = [];

/** Bodies as an LLM client sends and gets them. */
const requestBody = JSON.stringify({
  model: "gpt-4o-mini",
  messages: [{ role: "user", content: "x".repeat(950) }],
});
const answerBody = JSON.stringify({
  id: "chatcmpl-1",
  usage: { prompt_tokens: 9, completion_tokens: 1 },
  x: "y".repeat(515),
});

const PORTS = { upstream: 18_443, plain: 18_080, terminating: 18_444 };

try {
  console.log(JSON.stringify(await measure()));
} finally {
  for (const child of children) child.kill("SIGTERM");
  rmSync(folder, { recursive: true, force: true });
}

async function measure(): Promise<Record<string, number>> {
  const authority = await createTestAuthority();
  const certificate = await authority.issue(["api.openai.com", "127.0.0.1", "localhost"]);
  writeFileSync(join(folder, "ca.pem"), authority.certificate);
  writeFileSync(join(folder, "cert.pem"), certificate.certificate);
  writeFileSync(join(folder, "key.pem"), certificate.privateKey, { mode: 0o600 });
  await startNginx("upstream", 1, upstreamConfig(), PORTS.upstream);
  await startNginx("proxy", 0, proxyConfig(), PORTS.plain);
  writeFileSync(join(folder, "post.lua"), wrkScript());
  const postern = await startPostern();
  try {
    await setUp(postern, authority.certificate);
    execFileSync("taskset", ["-apc", "0", String(serverPid(postern))]);
    const direct = wrk(`https://127.0.0.1:${PORTS.upstream}/v1/chat/completions`);
    const nginx = wrk(`http://127.0.0.1:${PORTS.plain}/v1/chat/completions`);
    const nginxTls = wrk(`https://127.0.0.1:${PORTS.terminating}/v1/chat/completions`);
    // What Node compiles while the first thousands of requests pass is not what a request costs.
    await wrkInside(postern, "$OPENAI_BASE_URL/chat/completions", WARM_UP);
    const cpuBefore = cpuSeconds(serverPid(postern));
    const gate = await wrkInside(postern, "$OPENAI_BASE_URL/chat/completions");
    const cpu = cpuSeconds(serverPid(postern)) - cpuBefore;
    return {
      upstreamRps: direct,
      nginxRps: nginx,
      nginxTerminatingRps: nginxTls,
      rps: gate,
      ratioToNginx: round(gate / nginx),
      cpuUsPerRequest: round((cpu * 1e6) / (gate * SECONDS)),
      rssMb: round(residentMb(serverPid(postern))),
    };
  } finally {
    await postern.stop();
  }
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function wrkScript(): string {
  return `wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer placeholder"
wrk.body = [==[${requestBody}]==]
done = function(summary, latency)
  local bad = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format("RESULT %d %d %d\\n", summary.requests, summary.duration, bad))
end
`;
}

function wrkWords(url: string, seconds = SECONDS): string[] {
  return ["-t1", "-c32", `-d${seconds}s`, "-s", join(folder, "post.lua"), url];
}

function wrk(url: string): number {
  return requestsPerSecond(
    execFileSync("taskset", ["-c", "1", "wrk", ...wrkWords(url)], { encoding: "utf8" }),
  );
}

async function wrkInside(postern: Postern, url: string, seconds = SECONDS): Promise<number> {
  const words = wrkWords(url, seconds).map((word) => (word === url ? `"${url}"` : `'${word}'`));
  const command = `exec taskset -c 1 wrk ${words.join(" ")}`;
  const result = await postern.postern(["run", "--agent", "bench", "--", "sh", "-c", command]);
  if (result.code !== 0) throw new Error(result.stdout + result.stderr);
  return requestsPerSecond(result.stdout);
}

function requestsPerSecond(output: string): number {
  const [, requests, microseconds, bad] = /RESULT (\d+) (\d+) (\d+)/.exec(output) ?? [];
  if (bad !== "0") throw new Error(`requests failed:\n${output}`);
  return Math.round(Number(requests) / (Number(microseconds) / 1e6));
}

async function setUp(postern: Postern, caCertificate: string): Promise<void> {
  await postern.setSecret("openai-key", "sk-proj-benchmark-0123456789abcdef");
  const documents = [
    { kind: "TrustProvider", metadata: { name: "local" }, spec: { kind: "process" } },
    {
      kind: "Agent",
      metadata: { name: "bench" },
      spec: { trustProvider: "local", selectors: ["process:agent=bench"] },
    },
    {
      kind: "ServerWorkload",
      metadata: { name: "openai" },
      spec: {
        profile: "openai",
        connectTo: { address: "127.0.0.1", port: PORTS.upstream },
        allowedNetworks: ["127.0.0.0/8"],
        caCertificates: caCertificate,
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
        agents: ["bench"],
        serverWorkload: "openai",
        credentialProvider: "openai-key",
        allow: { models: ["gpt-4o-mini"], operations: ["chat.completions"] },
      },
    },
  ];
  await postern.apply(documents.map((document) => JSON.stringify(document)).join("\n---\n"));
}

function upstreamConfig(): string {
  return `server { listen 127.0.0.1:${PORTS.upstream} ssl; ${tls()} keepalive_requests 100000000;
    default_type application/json; location / { return 200 '${answerBody}'; } }`;
}

function proxyConfig(): string {
  const location = `location / { proxy_pass https://up; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_set_header Host api.openai.com; proxy_set_header Authorization "Bearer static"; proxy_ssl_server_name on;
    proxy_ssl_name api.openai.com; proxy_ssl_verify on; proxy_ssl_trusted_certificate ${join(folder, "ca.pem")}; }`;
  return `upstream up { server 127.0.0.1:${PORTS.upstream}; keepalive 64; keepalive_requests 100000000; }
    server { listen 127.0.0.1:${PORTS.plain}; keepalive_requests 100000000; ${location} }
    server { listen 127.0.0.1:${PORTS.terminating} ssl; ${tls()} keepalive_requests 100000000; ${location} }`;
}

function tls(): string {
  return `ssl_certificate ${join(folder, "cert.pem")}; ssl_certificate_key ${join(folder, "key.pem")};`;
}

async function startNginx(name: string, core: number, servers: string, port: number): Promise<void> {
  const config = join(folder, `${name}.conf`);
  writeFileSync(
    config,
    `worker_processes 1; daemon off; pid ${join(folder, `${name}.pid`)}; error_log ${join(folder, `${name}.log`)};
    events { worker_connections 4096; } http { access_log off; client_body_temp_path ${folder}/${name}-body;
    proxy_temp_path ${folder}/${name}-proxy; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s; ${servers} }`,
  );
  children.push(spawn("taskset", ["-c", String(core), "nginx", "-c", config], { stdio: "inherit" }));
  for (let attempt = 0; attempt < 100; attempt++) {
    // One attempt after the other, until it listens.
    // oxlint-disable-next-line no-await-in-loop
    if (await listens(port)) return;
  }
  throw new Error(`nginx did not start: ${readFileSync(join(folder, `${name}.log`), "utf8")}`);
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => setTimeout(resolve, 50, false));
  });
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
