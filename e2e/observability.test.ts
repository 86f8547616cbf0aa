// SPDX-License-Identifier: Apache-2.0
/** What can be seen of the real server from outside: health, metrics, traces and logs, and no secret in any of them. */
import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  findSecrets,
  FORBIDDEN_MODELS,
  hasPostgres,
  type OtlpCollector,
  POSTERN,
  type Postern,
  Scraped,
  startOtlpCollector,
  startPostern,
  startPostgres,
  startProgram,
  startStandIns,
  type StandIns,
} from "@postern/testkit";
import { RunningAgent } from "./run-agent.ts";

const WATCHED = ["--metrics-listen", "127.0.0.1:0", "--log-level", "debug"];
const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

interface Readiness {
  readonly ready: boolean;
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly reason?: string }[];
}

/** Where the server says that it serves metrics. */
async function metricsOf(postern: Postern): Promise<string> {
  const line = await postern.server.line((each) => each.includes("metrics are served"));
  return (JSON.parse(line) as { address: string }).address;
}

const textAt = async (address: string, path = "/metrics"): Promise<string> =>
  (await fetch(`http://${address}${path}`)).text();
const scrape = async (address: string): Promise<Scraped> => new Scraped(await textAt(address));

async function readiness(address: string): Promise<Readiness & { status: number }> {
  const answer = await fetch(`http://${address}/readyz`);
  return { status: answer.status, ...((await answer.json()) as Readiness) };
}

const notWell = ({ checks }: Readiness): string[] => checks.filter(({ ok }) => !ok).map(({ name }) => name);

function chat(agent: RunningAgent, model = "gpt-4o-mini", content = "hi", header = ""): string {
  const body = JSON.stringify({ model, messages: [{ role: "user", content }] });
  return (
    `POST /openai/v1/chat/completions HTTP/1.1\r\nHost: ${agent.authority}\r\nContent-Type: application/json\r\n` +
    `${header}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  );
}

async function prepare(postern: Postern, standIns: StandIns): Promise<void> {
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  await postern.apply(standIns.resources());
}

let standIns: StandIns;
beforeAll(async () => {
  standIns = await startStandIns();
});
afterAll(() => standIns?.close());

describe("a server that is watched", () => {
  let collector: OtlpCollector;
  let postern: Postern;
  let agent: RunningAgent;
  let address: string;

  beforeAll(async () => {
    collector = await startOtlpCollector();
    postern = await startPostern({
      args: WATCHED,
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
    });
    address = await metricsOf(postern);
    await prepare(postern, standIns);
    agent = await RunningAgent.start({ folder: postern.folder, agent: "demo-agent" });
  });
  afterAll(async () => {
    await agent?.stop();
    await postern?.stop();
    await collector?.close();
  });

  it("does not serve its metrics to an agent, neither directly nor through the gate", async () => {
    expect(await textAt(address, "/healthz")).toContain("alive");
    const script = `fetch("http://${address}/metrics").then(() => console.log("reached"), ({ cause }) => console.log(cause.code))`;
    const command = ["run", "--agent", "demo-agent", "--", "env", "-u", "NODE_USE_ENV_PROXY"];
    const tried = await postern.postern([...command, process.execPath, "-e", script]);
    expect(tried.stdout.trim()).toBe("ECONNREFUSED");
    for (const target of [`http://${address}/metrics`, "/metrics", "/readyz"]) {
      const host = target.startsWith("http") ? address : agent.authority;
      const answer = await agent.send(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.body.toString()).not.toMatch(/# TYPE|"ready"/);
    }
    const tunnel = await agent.send(`CONNECT ${address} HTTP/1.1\r\nHost: ${address}\r\n\r\n`);
    expect(tunnel).toMatchObject({ status: 403, code: "server_workload_unknown" });
  });

  it("shows a call and a refusal in its metrics, in traces and in its log, and no secret that was sent", async () => {
    const where = { agent: "demo-agent", server_workload: "openai", operation: "chat.completions" };
    const count = async (labels: Record<string, string>): Promise<number> =>
      (await scrape(address)).value("postern_requests_total", { ...where, ...labels }) ?? 0;
    const passed = await agent.send(chat(agent, "gpt-4o-mini", "hi", `traceparent: ${PARENT}\r\n`));
    expect(passed.status).toBe(200);
    expect((await agent.send(chat(agent, FORBIDDEN_MODELS.openai))).code).toBe("access_denied");
    for (const secret of Object.values(standIns.secrets)) {
      expect((await agent.send(chat(agent, "gpt-4o-mini", secret))).code).toBe("content_refused");
      expect((await agent.send(chat(agent, secret))).status).toBe(403);
      const path = `GET /openai/v1/models/${secret}?key=${secret} HTTP/1.1\r\nHost: ${agent.authority}\r\n`;
      await agent.send(`${path}traceparent: ${secret}\r\nX-Key: ${secret}\r\n\r\n`);
    }
    const secrets = Object.keys(standIns.secrets).length;
    await expect
      .poll(() => count({ code: "content_refused" }), { interval: 50, timeout: 15_000 })
      .toBeGreaterThanOrEqual(secrets);
    expect(await count({ outcome: "complete", http_response_status_code: "200" })).toBe(1);
    expect(await count({ code: "access_denied" })).toBeGreaterThanOrEqual(1);
    const metrics = await scrape(address);
    expect(
      metrics.value("gen_ai_client_token_usage_sum", { ...where, gen_ai_token_type: "input" }),
    ).toBeGreaterThan(0);
    expect(metrics.value("postern_added_latency_seconds_count", { server_workload: "openai" })).toBe(1);
    expect(metrics.value("postern_audit_appends_total")).toBeGreaterThan(4);
    expect(metrics.value("postern_ready")).toBe(4);

    const roots = () => collector.spans.filter(({ kind }) => kind === "SPAN_KIND_SERVER");
    await expect.poll(() => roots().length, { timeout: 15_000 }).toBeGreaterThan(2 * secrets + 1);
    const followed = collector.spans.filter(({ traceId }) => traceId === PARENT.split("-")[1]);
    expect(followed.map(({ kind }) => kind).toSorted()).toEqual([
      "SPAN_KIND_CLIENT",
      "SPAN_KIND_INTERNAL",
      "SPAN_KIND_SERVER",
    ]);
    expect(followed[0]).toMatchObject({ parentSpanId: "b7ad6b7169203331", name: "POST chat.completions" });
    expect(followed[0]?.attributes).toMatchObject({
      "postern.agent": "demo-agent",
      "gen_ai.request.model": "gpt-4o-mini",
      "postern.audit_id": passed.headers["postern-audit-id"],
    });
    const denied = roots().find(({ attributes }) => attributes["error.type"] === "access_denied");
    expect(denied?.attributes).toMatchObject({ "http.response.status_code": 403 });
    expect(postern.log).toContain(`"auditId":"${String(denied?.attributes["postern.audit_id"])}"`);

    const seen = {
      log: postern.log,
      metrics: await textAt(address),
      traces: Buffer.concat(collector.bodies).toString("latin1"),
    };
    for (const [name, text] of Object.entries(seen)) {
      expect(text.length).toBeGreaterThan(1000);
      expect(findSecrets(name, text, standIns.secrets)).toEqual([]);
      expect(text).not.toMatch(/\/v1\/models|X-Key|\?key=/i);
    }
  });

  it("goes on serving while its collector hangs", async () => {
    collector.behave("hang");
    for (let i = 0; i < 5; i++) expect((await agent.send(chat(agent))).status).toBe(200);
    await expect
      .poll(async () => (await scrape(address)).value("postern_traces_dropped_total"), { timeout: 40_000 })
      // More, where some of the test before were still on their way.
      .toBeGreaterThanOrEqual(5);
    collector.behave("take");
    expect((await agent.send(chat(agent))).status).toBe(200);
  });

  it("says the same of its readiness everywhere", async () => {
    expect(await readiness(address)).toMatchObject({ status: 200, ready: true });
    const { checks } = await readiness(address);
    expect(checks.map(({ name }) => name)).toEqual(["audit_log", "database", "vault", "secret_search"]);
    const status = JSON.parse((await postern.postern(["status", "--json"])).stdout) as Readiness;
    expect(status).toMatchObject({ ready: true, checks });
  });
});

describe("a server whose log nobody reads", () => {
  it("goes on while its reader stands still, and when it has gone", async () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-e2e-unread-"));
    const pipe = join(folder, "log");
    execFileSync("mkfifo", [pipe]);
    // Held open for reading and never read: it takes 64 KiB and then nothing more.
    const unread = openSync(pipe, "r+");
    const data = join(folder, "data");
    const up = `exec "$0" up --data "$1" --log-level debug 2>"$2"`;
    const server = startProgram("sh", ["-c", up, POSTERN, data, pipe]);
    let agent: RunningAgent | undefined;
    try {
      await server.line((line) => line.startsWith("postern is ready"));
      const resources =
        "kind: TrustProvider\nmetadata: { name: local }\nspec: { kind: process }\n---\n" +
        "kind: Agent\nmetadata: { name: a }\nspec: { trustProvider: local, selectors: ['process:agent=a'] }\n";
      const env = { POSTERN_HOME: data };
      const applied = startProgram(POSTERN, ["apply", "-f", "-"], { env, input: resources });
      expect((await applied.ended).code).toBe(0);
      agent = await RunningAgent.start({ folder: data, agent: "a" });
      const connection = agent.connect();
      const ask = async () => {
        connection.write(`GET /nowhere HTTP/1.1\r\nHost: ${agent!.authority}\r\n\r\n`);
        expect((await connection.answer()).code).toBe("server_workload_unknown");
      };
      for (let i = 0; i < 400; i++) await ask();
      closeSync(unread);
      for (let i = 0; i < 20; i++) await ask();
      await agent.stop();
      expect((await server.stop()).code).toBe(0);
    } finally {
      await agent?.stop();
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("a server that cannot do its work", () => {
  const canMount = process.getuid?.() === 0 && isMountPossible();

  it.skipIf(!canMount)(
    "is not ready while its audit log cannot be written, and is again once it can",
    async () => {
      const folder = mkdtempSync(join(tmpdir(), "postern-e2e-ready-"));
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", folder]);
      let postern: Postern | undefined;
      let agent: RunningAgent | undefined;
      try {
        postern = await startPostern({ folder, args: WATCHED });
        const address = await metricsOf(postern);
        await prepare(postern, standIns);
        agent = await RunningAgent.start({ folder, agent: "demo-agent" });
        expect((await agent.send(chat(agent))).status).toBe(200);
        expect((await readiness(address)).status).toBe(200);
        execFileSync("sh", ["-c", `dd if=/dev/zero of=${join(folder, "filler")} bs=4k 2>/dev/null; true`]);
        const code = async () => (await agent!.send(chat(agent!))).code;
        await expect.poll(code, { interval: 1, timeout: 15_000 }).toBe("audit_unavailable");
        await expect.poll(async () => (await readiness(address)).status, { timeout: 15_000 }).toBe(503);
        expect(notWell(await readiness(address))).toContain("audit_log");
        expect(await textAt(address, "/healthz")).toContain("alive");
        expect((await scrape(address)).value("postern_ready", { check: "audit_log" })).toBe(0);
        expect((await scrape(address)).value("postern_audit_failures_total")).toBeGreaterThan(0);
        const status = await postern.postern(["status"]);
        expect(status.code).toBe(1);
        expect(status.stdout).toContain("not ready: audit_log: ");
        execFileSync("rm", [join(folder, "filler")]);
        await expect.poll(code, { timeout: 15_000 }).toBeUndefined();
        await expect.poll(async () => (await readiness(address)).status, { timeout: 15_000 }).toBe(200);
      } finally {
        await agent?.stop();
        await postern?.stop();
        execFileSync("umount", ["-l", folder]);
        rmSync(folder, { recursive: true, force: true });
      }
    },
  );

  it.skipIf(!hasPostgres())(
    "is not ready while its database is away for too long, and is again",
    async () => {
      const database = await startPostgres();
      const url = await database.createDatabase();
      let postern: Postern | undefined;
      try {
        const args = ["--database-url", "env:TEST_DATABASE", "--max-snapshot-age", "1", ...WATCHED];
        postern = await startPostern({ args, env: { TEST_DATABASE: url } });
        const address = await metricsOf(postern);
        expect((await readiness(address)).status).toBe(200);
        await database.crash();
        await expect.poll(async () => (await readiness(address)).status, { timeout: 15_000 }).toBe(503);
        expect(notWell(await readiness(address))).toEqual(["database"]);
        expect((await scrape(address)).value("postern_snapshot_age_seconds")).toBeGreaterThan(1);
        await database.start();
        await expect.poll(async () => (await readiness(address)).status, { timeout: 15_000 }).toBe(200);
        expect(postern.log).toContain("the database is lost");
        expect(postern.log).toContain("the database is there again");
        expect(postern.log).not.toContain(url);
      } finally {
        await postern?.stop();
        await database.remove();
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
