// SPDX-License-Identifier: Apache-2.0
/** 200 agents call through the gateway without pause, while the authority behind all of their SVIDs is replaced. */
import { spawn, type ChildProcess } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { StatusResponse } from "@postern/contract";
import { type Postern, type StandIns, startPostern, startStandIns } from "@postern/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { svidOf, WorkloadClient } from "./workload-client.ts";

const PROGRAM = fileURLToPath(new URL("many-agents.py", import.meta.url));
const AGENTS = Array.from({ length: 200 }, (_, index) => `agent-${index}`);
/** Calls that are under way at the same time. */
const CALLERS = 8;
const CHAT = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hello" }] });

interface Holder {
  readonly agent: string;
  readonly client: WorkloadClient;
  credentials: { readonly cert: string; readonly key: string; readonly ca: string };
  signer: string;
  calls: number;
  /** Of its stream, once that is over. */
  ended?: string | undefined;
}

let standIns: StandIns;
let postern: Postern;
let port: number;
let folder: string;
let processes: ChildProcess;
const holders: Holder[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-many-"));
  standIns = await startStandIns();
  const workloadSocket = join(folder, "workload.sock");
  postern = await startPostern({
    args: [
      ...["--trust-domain", "corp", "--gateway-listen", "127.0.0.1:0"],
      ...["--workload-api-socket", workloadSocket],
    ],
  });
  for (const [name, value] of Object.entries(standIns.secrets)) await postern.setSecret(name, value);
  const resources = standIns.resources({ agents: AGENTS }).replaceAll(/kind: Agent\n[^]*?---\n/g, "");
  const agents = AGENTS.map(
    (name) => `---
kind: Agent
metadata: { name: ${name} }
spec: { trustProvider: local, selectors: ["process:path=${pathOf(name)}"], spiffeId: "spiffe://corp/agents/${name}" }
`,
  );
  await postern.apply(resources + agents.join(""));
  const status = JSON.parse((await postern.postern(["status", "--json"])).stdout) as StatusResponse;
  port = Number(status.gateway!.split(":")[1]);
  await startProcesses(workloadSocket);
  await Promise.all(AGENTS.map((agent) => hold(agent)));
}, 180_000);

afterAll(async () => {
  for (const { client } of holders) client.close();
  // Ends with its children, which are in a group of their own.
  if (processes?.pid !== undefined) process.kill(-processes.pid, "SIGKILL");
  await postern?.stop();
  await standIns?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A process for each agent, outside of runs: who is in a run goes through the gate of that. */
async function startProcesses(workloadSocket: string): Promise<void> {
  processes = spawn("python3", [PROGRAM], { stdio: ["pipe", "pipe", "inherit"], detached: true });
  const lines = createInterface({ input: processes.stdout! });
  let ready = 0;
  const all = new Promise<void>((resolve) => {
    lines.on("line", () => ++ready === AGENTS.length && resolve());
  });
  for (const agent of AGENTS) {
    const order = { path: pathOf(agent), relay: relayOf(agent), workloadSocket };
    processes.stdin!.write(`${JSON.stringify(order)}\n`);
  }
  await all;
}

const pathOf = (agent: string): string => join(folder, agent);
const relayOf = (agent: string): string => join(folder, `${agent}.sock`);
const pem = (label: string, der: Buffer): string =>
  `-----BEGIN ${label}-----\n${der
    .toString("base64")
    .match(/.{1,64}/g)!
    .join("\n")}\n-----END ${label}-----\n`;

/** DER, one certificate after the other: each says how long it is. */
function split(bundle: Buffer): Buffer[] {
  const certificates: Buffer[] = [];
  for (let at = 0; at < bundle.length;) {
    const length = 4 + bundle.readUInt16BE(at + 2);
    certificates.push(bundle.subarray(at, at + length));
    at += length;
  }
  return certificates;
}

/** Holds the stream; resolves with the first SVID. */
function hold(agent: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const client = new WorkloadClient(relayOf(agent));
    const holder: Holder = {
      agent,
      client,
      credentials: { cert: "", key: "", ca: "" },
      signer: "",
      calls: 0,
    };
    client.call("/SpiffeWorkloadAPI/FetchX509SVID", Buffer.alloc(0), {
      message: (message) => {
        const { certificate, key, bundle } = svidOf(message);
        const ca = split(bundle).map((each) => pem("CERTIFICATE", each));
        holder.credentials = {
          cert: pem("CERTIFICATE", certificate),
          key: pem("PRIVATE KEY", key),
          ca: ca.join(""),
        };
        holder.signer = new X509Certificate(certificate).issuer;
        if (!holders.includes(holder)) holders.push(holder);
        resolve();
      },
      end: (status) => {
        holder.ended = status ?? "broken";
        reject(new Error(`${agent}: the stream ended with ${holder.ended}`));
      },
    });
  });
}

/** Status of one call on a connection of its own, or what went wrong. */
function call({ credentials }: Holder): Promise<number | string> {
  return new Promise((resolve) => {
    const request = httpsRequest(
      {
        ...{ host: "127.0.0.1", port, method: "POST", path: "/openai/v1/chat/completions", agent: false },
        ...credentials,
        headers: { "content-type": "application/json", authorization: "Bearer placeholder" },
      },
      (response) => {
        response.resume();
        response.once("error", (error) => resolve(error.message));
        response.once("end", () => resolve(response.statusCode ?? 0));
      },
    );
    request.once("error", (error) => resolve(error.message));
    request.end(CHAT);
  });
}

const signers = (): Set<string> => new Set(holders.map(({ signer }) => signer));

it("200 agents go from one authority to the next with no failed request, and one that is cut off fails at once", async () => {
  const failures: string[] = [];
  let isOver = false;
  let next = 0;
  const work = async (): Promise<void> => {
    while (!isOver) {
      const holder = holders[next++ % holders.length]!;
      // Each caller calls without pause.
      // eslint-disable-next-line no-await-in-loop
      const answer = await call(holder);
      holder.calls++;
      if (answer !== 200) failures.push(`${holder.agent}: ${answer}`);
    }
  };
  const callers = Array.from({ length: CALLERS }, () => work());
  /** Each agent has called once more since. */
  const round = async (): Promise<void> => {
    const before = new Map(holders.map((holder) => [holder, holder.calls]));
    const isDone = () => holders.every((holder) => holder.calls > before.get(holder)! + 1);
    await expect.poll(isDone, { timeout: 100_000 }).toBe(true);
  };
  const ca = async (...words: string[]): Promise<void> => {
    const { code, stderr } = await postern.postern(["ca", ...words]);
    expect(stderr + String(code)).toBe("0");
  };
  await round();
  expect(failures).toEqual([]);
  const [first] = signers();
  await ca("prepare", "x509");
  await round();
  expect([...signers()]).toEqual([first]);
  await ca("activate", "x509-2", "--force");
  await expect.poll(() => signers().has(first!), { timeout: 60_000 }).toBe(false);
  expect(signers().size).toBe(1);
  await round();
  await ca("taint", "x509-1");
  await round();
  const held = holders[0]!;
  await ca("revoke", "x509-1");
  await round();
  expect(failures).toEqual([]);
  isOver = true;
  await Promise.all(callers);
  expect(failures).toEqual([]);
  const { credentials, agent } = held;
  expect((await postern.postern(["cut", agent])).code).toBe(0);
  expect(await call({ ...held, credentials })).not.toBe(200);
  await expect.poll(() => held.ended).toBe("7");
  expect(await call(holders[1]!)).toBe(200);
}, 400_000);
