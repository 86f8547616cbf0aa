// SPDX-License-Identifier: Apache-2.0
/**
 * How fast are identities issued, callers attested, and changes pushed? `npm run bench -- identity --json`
 *
 * Issuing and attestation run on one thread, with the product's own keys and code. The push goes to 2,000 streams of
 * clients in another process, with an audit log on disk; its time ends when the last client says that it has the answer.
 */
import { fork } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { attestCaller } from "../packages/server/src/attestation/process/attest-caller.ts";
import { ExecutableHashes } from "../packages/server/src/attestation/process/hash-executable.ts";
import { HolderSearch } from "../packages/server/src/attestation/process/find-holders.ts";
import { identifyUnixCaller, searchIn } from "../packages/server/src/attestation/process/identify-caller.ts";
import { readStat } from "../packages/server/src/attestation/process/proc.ts";
import { svidEvent } from "../packages/server/src/audit/identity-events.ts";
import { openAuditLog } from "../packages/server/src/audit/log.ts";
import { parseSpiffeId } from "../packages/identity/src/spiffe-id.ts";
import { svidIssuer, writeX509Svid } from "../packages/identity/src/svid-certificate.ts";
import { Issuer } from "../packages/server/src/issuer/issuer.ts";
import { WorkloadApi, type WorkloadPeer } from "../packages/server/src/issuer/workload-api/workload-api.ts";
import { systemClock as clock } from "../packages/server/src/kernel/clock.ts";
import { newId } from "../packages/server/src/kernel/ids.ts";
import { silentLog } from "../packages/server/src/kernel/log.ts";
import { ok } from "../packages/server/src/kernel/result.ts";
import { masterKey } from "../packages/server/src/keys/master-key.ts";
import { ecdsaSigningKey, ed25519SigningKey } from "../packages/server/src/keys/signing-keys.ts";
import { openStore } from "../packages/server/src/store/sqlite/open-store.ts";

const { values } = parseArgs({
  options: { json: { type: "boolean" }, seconds: { type: "string" }, streams: { type: "string" } },
});
const SECONDS = Number(values.seconds ?? "3");
const STREAMS = Number(values.streams ?? "2000");
const PUSHES = 5;

const folder = mkdtempSync(join(tmpdir(), "postern-bench-"));
const store = await openStore({ file: join(folder, "postern.db"), clock });
const keys = masterKey(randomBytes(32));
const signingKey = (name: string) => ecdsaSigningKey(name, store.keys, keys);
const issuer = await Issuer.open({
  ...{ trustDomain: "corp", lives: { x509: 3_600_000, jwt: 300_000 } },
  ...{ authorities: store.authorities, signingKey, clock },
  audit: async () => {},
});
const SPIFFE_ID = "spiffe://corp/agents/production/support-agent";
const parsed = parseSpiffeId(SPIFFE_ID);
if (!parsed.ok) throw new Error(parsed.reason);
const id = parsed.value;

/** Calls per second, after a third of the time for warming up. */
function rate(call: () => unknown): number {
  const run = (milliseconds: number): number => {
    const end = performance.now() + milliseconds;
    let calls = 0;
    const started = performance.now();
    while (performance.now() < end) for (let n = 0; n < 20; n++, calls++) call();
    return (calls * 1000) / (performance.now() - started);
  };
  run((SECONDS * 1000) / 3);
  return Math.round(run(SECONDS * 1000));
}

async function existingKeyRate(): Promise<number> {
  const authority = await signingKey("bench");
  const publicKey = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({
    type: "spki",
    format: "der",
  });
  const name = svidIssuer("bench", authority.spki);
  return rate(() => {
    const serial = randomBytes(16);
    serial[0] = 0x40;
    const validity = { notBefore: clock.now(), notAfter: clock.now() + 3_600_000 };
    return writeX509Svid(
      {
        spiffeId: SPIFFE_ID,
        publicKey,
        serial,
        ...validity,
        issuer: name,
      },
      authority.sign,
    );
  });
}

/** From the socket's peer to its agent: reading the process, its standing in the run, and the match. */
async function attestUs(): Promise<number> {
  const leader = { pid: process.pid, startTime: readStat(process.pid)!.startTime };
  const processes = { leader, pidNamespace: undefined };
  const run = { id: "bench", isolated: false };
  const search = searchIn(run, processes, new HolderSearch(processes), new ExecutableHashes());
  const uid = process.getuid?.() ?? 0;
  const agents = [{ name: "one", selectors: [`process:uid=${uid}`] }];
  const attestOnce = async (): Promise<void> => {
    const facts = await identifyUnixCaller(search, { pid: process.pid, uid, pidfd: undefined });
    if (!facts.ok || !facts.value.stillHolds())
      throw new Error("the benchmark's own process was not identified");
    const agent = await attestCaller(facts.value, agents);
    if (!agent.ok) throw new Error(agent.reason.code);
  };
  const rounds = SECONDS * 3000;
  for (let round = 0; round < rounds / 3; round++) await attestOnce();
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const started = process.hrtime.bigint();
    await attestOnce();
    times.push(Number(process.hrtime.bigint() - started) / 1000);
  }
  return Math.round(times.toSorted((a, b) => a - b)[Math.floor(rounds / 2)]! * 10) / 10;
}

async function pushes(): Promise<{ pushMs: number; bytesPerStream: number }> {
  const audit = await openAuditLog({
    folder: join(folder, "audit"),
    signer: await ed25519SigningKey("bench-audit", store.keys, keys),
    clock,
    onFault: () => {},
  });
  const api = new WorkloadApi<WorkloadPeer>({
    issuer,
    standingProblem: () => undefined,
    recordIssued: (_, entitlement, issued) => {
      const time = clock.now();
      const event = { id: newId(time), time, change: "issue", agent: entitlement.agent, ...issued } as const;
      return audit.append(svidEvent({ ...event, spiffeId: entitlement.id.uri })).durable;
    },
    recordRefused: async () => {},
    ...{ clock, log: silentLog, chance: Math.random },
  });
  const socket = join(folder, "workload.sock");
  const peer = { identify: async () => ok({ agent: "one", id, federated: [] }) };
  const server = createServer({ pauseOnConnect: true }, (each) => api.accept(each, peer));
  server.listen({ path: socket, backlog: 511 });
  await once(server, "listening");
  globalThis.gc?.();
  const before = process.memoryUsage().rss;
  const clients = fork(fileURLToPath(new URL("./open-streams.ts", import.meta.url)), [
    socket,
    String(STREAMS),
  ]);
  await once(clients, "message");
  globalThis.gc?.();
  const bytesPerStream = Math.round((process.memoryUsage().rss - before) / STREAMS);
  const times: number[] = [];
  for (let round = 0; round < PUSHES; round++) {
    const answered = once(clients, "message");
    const started = performance.now();
    api.pushAll();
    await answered;
    times.push(performance.now() - started);
  }
  clients.kill();
  api.close();
  server.close();
  await audit.close();
  return { pushMs: Math.round(times.toSorted((a, b) => a - b)[Math.floor(PUSHES / 2)]!), bytesPerStream };
}

const result = {
  x509SvidsPerSecond: rate(() => issuer.issueX509(id)),
  x509SvidsPerSecondExistingKey: await existingKeyRate(),
  jwtSvidsPerSecond: rate(() => issuer.issueJwt(id, ["https://api.example"])),
  attestProcessUs: await attestUs(),
  ...(await pushes()),
};
await store.close();
rmSync(folder, { recursive: true });
if (values.json === true) process.stdout.write(`${JSON.stringify(result)}\n`);
else
  for (const [name, value] of Object.entries(result)) process.stdout.write(`${name.padEnd(30)} ${value}\n`);
process.exit(0);
