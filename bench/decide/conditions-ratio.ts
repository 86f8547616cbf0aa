// SPDX-License-Identifier: Apache-2.0
/**
 * What is left of the gateway's throughput under five conditions, one of which reads the body, and three budgets?
 *
 * As `gateway` measures it: the server has core 0, load and upstream core 1. With and without in turns.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestAuthority, type Postern, startPostern } from "@postern/testkit";
import { PORTS, startNginx, upstreamConfig } from "../gateway/nginx.ts";
import { setUp } from "../gateway/set-up.ts";
import { answerBody, wrkRate, wrkWords, writeWrkScript } from "../gateway/wrk.ts";

export interface ConditionsCost {
  readonly plainRps: number;
  readonly conditionedRps: number;
  readonly conditionsRatio: number;
}

const CONDITIONS = {
  "office-hours": { kind: "time", zone: "Europe/Berlin", hours: ["00:00-24:00"] },
  "our-network": { kind: "region", networks: ["192.0.2.0/24"] },
  "as-attested": { kind: "attested", allOf: ["process:agent=bench"] },
  confined: { kind: "runtime", capabilities: [], noNewPrivileges: true, seccomp: true },
  modest: {
    kind: "request",
    operations: ["chat.completions"],
    body: [
      { pointer: "/temperature", max: 1, orAbsent: true },
      { pointer: "/tools", absent: true },
    ],
  },
};

const BUDGETS = {
  "agent-a-day": {
    ...{ appliesTo: { agents: ["bench"] }, per: "agent", period: "day" },
    limits: { requests: 1e9 },
  },
  "openai-an-hour": {
    ...{ appliesTo: { serverWorkloads: ["openai"] }, period: "hour" },
    limits: { tokens: 1e12 },
  },
  "all-a-month": { appliesTo: { everything: true }, period: "month", limits: { dollars: 1e9 } },
};

const PRICES = {
  ...{ version: "1", date: "2026-01-01", source: "the benchmark", serverWorkloads: ["openai"] },
  models: [{ names: ["gpt-4o-mini"], input: 1, output: 2, maxOutputTokens: 1000 }],
};

/** Turns of each kind. */
const TURNS = 4;

export async function measureConditions(seconds: number): Promise<ConditionsCost> {
  const folder = mkdtempSync(join(tmpdir(), "postern-bench-"));
  const authority = await createTestAuthority();
  const { certificate, privateKey } = await authority.issue(["api.openai.com", "events.example"]);
  const tls = {
    ca: join(folder, "ca.pem"),
    certificate: join(folder, "cert.pem"),
    key: join(folder, "key.pem"),
  };
  writeFileSync(tls.ca, authority.certificate);
  writeFileSync(tls.certificate, certificate);
  writeFileSync(tls.key, privateKey, { mode: 0o600 });
  writeWrkScript(folder);
  const servers = upstreamConfig(tls, answerBody);
  const upstream = await startNginx(folder, { name: "upstream", core: 1, servers, port: PORTS.upstream });
  const postern = await startPostern({ args: ["--public-address", "192.0.2.7"] });
  try {
    await setUp(postern, authority.certificate, PORTS.upstream);
    execFileSync("taskset", ["-apc", "0", String(postern.server.pid)]);
    return await inTurns(postern, folder, seconds);
  } finally {
    await postern.stop();
    upstream.kill("SIGTERM");
    rmSync(folder, { recursive: true, force: true });
  }
}

async function inTurns(postern: Postern, folder: string, seconds: number): Promise<ConditionsCost> {
  const rates: Record<"plain" | "conditioned", number[]> = { plain: [], conditioned: [] };
  const load = async (length: number): Promise<number> => {
    const words = wrkWords(folder, "$POSTERN_GATE/openai/v1/chat/completions", length);
    const command = ["run", "--agent", "bench", "--", "sh", "-c", `exec taskset -c 1 ${words}`];
    return wrkRate((await postern.postern(command)).stdout);
  };
  // One after the other: two loads at once would measure each other.
  // oxlint-disable no-await-in-loop
  for (let turn = -1; turn < TURNS; turn++)
    for (const kind of ["plain", "conditioned"] as const) {
      await (kind === "plain" ? withoutAny(postern) : withAll(postern));
      const rate = await load(seconds);
      if (turn >= 0) rates[kind].push(rate);
    }
  // oxlint-enable no-await-in-loop
  const [plainRps, conditionedRps] = [mean(rates.plain), mean(rates.conditioned)];
  return { plainRps, conditionedRps, conditionsRatio: Math.round((conditionedRps / plainRps) * 1000) / 1000 };
}

const mean = (rates: readonly number[]): number =>
  Math.round(rates.reduce((sum, rate) => sum + rate, 0) / rates.length);

const policy = (conditions: readonly string[]) => ({
  kind: "AccessPolicy",
  metadata: { name: "bench" },
  spec: {
    agents: ["bench"],
    serverWorkload: "openai",
    credentialProvider: "openai-key",
    ...(conditions.length === 0 ? {} : { conditions }),
    allow: { models: ["gpt-4o-mini"], operations: ["chat.completions"] },
  },
});

const applied = (postern: Postern, documents: readonly object[]): Promise<unknown> =>
  postern.apply(documents.map((document) => JSON.stringify(document)).join("\n---\n"));

async function withAll(postern: Postern): Promise<void> {
  await applied(postern, [
    ...Object.entries(CONDITIONS).map(([name, spec]) => ({
      kind: "AccessCondition",
      metadata: { name },
      spec,
    })),
    { kind: "PriceList", metadata: { name: "prices" }, spec: PRICES },
    ...Object.entries(BUDGETS).map(([name, spec]) => ({ kind: "Budget", metadata: { name }, spec })),
    policy(Object.keys(CONDITIONS)),
  ]);
}

async function withoutAny(postern: Postern): Promise<void> {
  await applied(postern, [policy([])]);
  for (const name of Object.keys(BUDGETS)) {
    // One after the other; those that are not there yet are none to delete.
    // oxlint-disable-next-line no-await-in-loop
    await postern.postern(["delete", "Budget", name]);
  }
}
