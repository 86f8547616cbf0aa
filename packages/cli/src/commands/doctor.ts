// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { homedir } from "node:os";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import type { StatusResponse } from "@postern/contract";
import { startAgent } from "../agent-run.ts";
import { type Command, type Invocation, listFlag } from "../command.ts";
import { type CanaryUpstream, startCanaryUpstream } from "../doctor/canary-upstream.ts";
import { type Check, judge } from "../doctor/judge.ts";
import type { ProbeOrders, ProbeReport } from "../doctor/probe.ts";
import { type Exposure, exposureCandidates } from "../doctor/reachable.ts";
import { detectIsolation } from "../sandbox/detect-isolation.ts";

export const doctor: Command = {
  name: "doctor",
  usage: "doctor",
  summary:
    "prove that the agent cannot read the secret while its call succeeds; say what else it could reach",
  flags: {
    hide: {
      type: "string",
      multiple: true,
      value: "PATH",
      help: "as for `run`: see what is left with this hidden",
    },
  },
  details:
    "Puts a canary secret in the vault, calls a canary server on loopback through the gateway as an isolated agent,\n" +
    "and looks for the canary in everything that agent can see. Removes both afterwards; all of it is audited.",
  run: async (invocation) => {
    const { checks: ofServer } = await invocation.control.get<StatusResponse>("/v1/status");
    const server = ofServer.map(({ name, ok, reason }): Check => ({
      ...{ name: `server: ${name}`, ok, detail: reason ?? "well" },
    }));
    const isolation = await detectIsolation();
    if (isolation.mode === "none") {
      const reasons = isolation.failed.map(({ mode, reason }) => `${mode}: ${reason}`).join("; ");
      return report(
        invocation,
        [...server, { name: "isolation", ok: false, detail: `${reasons}; ${isolation.nextStep}` }],
        [],
      );
    }
    const canary = `canary-${randomBytes(24).toString("base64url")}`;
    const upstream = await startCanaryUpstream(canary);
    const candidates = exposureCandidates(invocation.environment, homedir(), process.cwd());
    const name = `postern-doctor-${randomBytes(4).toString("hex")}`;
    try {
      await setUp(invocation, name, canary, upstream);
      const seen = await runProbe(invocation, isolation.mode, name, upstream, candidates);
      const checks = judge(seen, canary, upstream.right());
      const reachable = candidates.filter(({ path }) => seen.reachable.includes(path));
      return report(
        invocation,
        [...server, { name: "isolation", ok: true, detail: isolation.mode }, ...checks],
        reachable,
      );
    } finally {
      upstream.close();
      await takeDown(invocation, name);
    }
  },
};

async function setUp(
  { control }: Invocation,
  name: string,
  canary: string,
  upstream: CanaryUpstream,
): Promise<void> {
  await control.put(`/v1/secrets/${name}`, Buffer.from(canary));
  const metadata = { name };
  const documents = [
    { kind: "TrustProvider", metadata, spec: { kind: "process" } },
    { kind: "Agent", metadata, spec: { trustProvider: name, selectors: [`process:agent=${name}`] } },
    {
      kind: "ServerWorkload",
      metadata,
      spec: {
        profile: "http",
        hosts: [upstream.host],
        injection: { kind: "bearer" },
        connectTo: { address: "127.0.0.1", port: upstream.port },
        allowedNetworks: ["127.0.0.1/32"],
        caCertificates: upstream.authority,
      },
    },
    { kind: "CredentialProvider", metadata, spec: { kind: "vault", secret: name, serverWorkloads: [name] } },
    {
      kind: "AccessPolicy",
      metadata,
      spec: { agents: [name], serverWorkload: name, credentialProvider: name, allow: { paths: ["/canary"] } },
    },
  ];
  // JSON is YAML: one document after the other.
  const yaml = documents.map((document) => JSON.stringify(document)).join("\n---\n");
  await control.post("/v1/apply", { files: [{ name: "doctor", text: yaml }], dryRun: false });
}

async function takeDown({ control }: Invocation, name: string): Promise<void> {
  for (const kind of ["AccessPolicy", "CredentialProvider", "ServerWorkload", "Agent", "TrustProvider"])
    // Each refers to the one after it.
    // oxlint-disable-next-line no-await-in-loop
    await control.delete(`/v1/resources/${kind}/${name}`).catch(() => {});
  await control.delete(`/v1/secrets/${name}`).catch(() => {});
}

async function runProbe(
  { control, dataFolder, environment, flags }: Invocation,
  mode: "bubblewrap" | "util-linux",
  agent: string,
  upstream: CanaryUpstream,
  candidates: readonly Exposure[],
): Promise<ProbeReport> {
  const orders: ProbeOrders = {
    path: `/${agent}/canary`,
    placeholder: "PosternPlaceholder0000000000000000",
    directPort: upstream.port,
    dataFolder,
    candidates: candidates.map(({ path }) => path),
    programFiles: [fileURLToPath(import.meta.url), fileURLToPath(import.meta.resolve("@postern/server"))],
  };
  const program = fileURLToPath(import.meta.resolve("../doctor/probe.ts"));
  const sandboxed = await startAgent(
    {
      control,
      mode,
      agent,
      environment,
      keep: [],
      hide: listFlag(flags["hide"]),
      command: [process.execPath, "--no-warnings", program, JSON.stringify(orders)],
    },
    ["ignore", "pipe", "pipe"],
  );
  const [output, complaint, { failure }] = await Promise.all([
    text(sandboxed.child.stdout!),
    text(sandboxed.child.stderr!),
    sandboxed.exit,
  ]);
  if (output === "") throw new Error(`the probe could not run: ${failure ?? complaint.trim().slice(0, 500)}`);
  return JSON.parse(output) as ProbeReport;
}

function report(
  { json, print }: Invocation,
  checks: readonly Check[],
  reachable: readonly Exposure[],
): number {
  const isSound = checks.every(({ ok }) => ok);
  const open = reachable.map(({ path, what }) => ({ path, what, close: `postern run --hide ${path}` }));
  if (json) print(JSON.stringify({ checks, reachable: open }));
  else {
    for (const { name, ok, detail } of checks) print(`${ok ? "ok  " : "FAIL"}  ${name}: ${detail}`);
    if (open.length > 0) print("\nstill within the agent's reach, as far as this looked:");
    for (const { path, what, close } of open) print(`  ${path}  (${what})\n      close it: ${close}`);
    print(
      isSound
        ? "\nthe agent cannot read the secret, and its call succeeded"
        : "\nNOT SAFE: see the lines marked FAIL",
    );
  }
  return isSound ? 0 : 1;
}
