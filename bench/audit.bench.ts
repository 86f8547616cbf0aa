// SPDX-License-Identifier: Apache-2.0
/**
 * How fast is the audit log on this machine? Prints one JSON object.
 *
 * `node bench/audit.bench.ts [EVENTS] [CALLERS]`: appends decision events of about 1 KB without waiting (the hot
 * path), then with many callers that each wait until their entry is durable, then one by one.
 */
import { generateKeyPairSync, sign } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decisionEvent } from "../packages/server/src/audit/events.ts";
import { exportLog } from "../packages/server/src/audit/export.ts";
import { openAuditLog } from "../packages/server/src/audit/log.ts";
import type { AuditLog } from "../packages/server/src/audit/log.ts";
import { verifyExport } from "../packages/server/src/audit/verify-export.ts";
import { newId } from "../packages/server/src/kernel/ids.ts";

const events = Number(process.argv[2] ?? 60_000);
const callers = Number(process.argv[3] ?? 256);
const folder = mkdtempSync(join(tmpdir(), "postern-audit-bench-"));
const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const signer = {
  name: "bench.postern.example/audit",
  publicKey: Buffer.from(publicKey.export({ format: "jwk" }).x!, "base64url"),
  sign: (note: Buffer) => sign(null, note, privateKey),
};
const clock = { now: () => Date.now() };
const open = (): Promise<AuditLog> => openAuditLog({ folder, signer, clock });

function event() {
  const now = Date.now();
  return decisionEvent({
    id: newId(now),
    time: now,
    agent: "support-agent",
    run: "abcdefghjkmn",
    isolated: true,
    process: { pid: 4242, path: "/usr/bin/python3.13", sha256: "a".repeat(64) },
    selectors: ["process:uid:1000", "process:path:/usr/bin/python3.13", "process:sha256:" + "a".repeat(64)],
    serverWorkload: "openai",
    operation: "chat.completions",
    model: "gpt-4o-mini",
    method: "POST",
    host: "api.openai.com",
    path: "/v1/chat/completions",
    outcome: "allow",
    reasons: ["policy"],
    policies: ["support-agent-may-chat"],
    credentialProvider: "openai-key",
    policyDigest: "b".repeat(64),
    mode: "base-url",
  });
}

const rate = (count: number, start: number): number =>
  Math.round((count * 1000) / (performance.now() - start));

/** In turns of 64, as requests come in from the event loop. */
async function withoutWaiting(log: AuditLog): Promise<object> {
  const start = performance.now();
  let last = Promise.resolve();
  for (let done = 0; done < events; done++) {
    last = log.append(event()).durable;
    if (done % 64 === 63) await new Promise(setImmediate);
  }
  const appendsPerSecond = rate(events, start);
  await last;
  return { appendsPerSecond, durablePerSecond: rate(events, start) };
}

async function waiting(log: AuditLog, count: number, parallel: number): Promise<object> {
  const times: number[] = [];
  const start = performance.now();
  const caller = async (): Promise<void> => {
    while (times.length + parallel <= count) {
      const from = performance.now();
      await log.append(event()).durable;
      times.push(performance.now() - from);
    }
  };
  await Promise.all(Array.from({ length: parallel }, caller));
  const perSecond = rate(times.length, start);
  times.sort((a, b) => a - b);
  const at = (share: number): number => Number(times[Math.floor(times.length * share)]!.toFixed(2));
  return { callers: parallel, perSecond, p50Ms: at(0.5), p99Ms: at(0.99) };
}

async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const start = performance.now();
  return [await work(), Math.round(performance.now() - start)];
}

try {
  const log = await open();
  const results = {
    events,
    entryBytes: 0,
    withoutWaiting: await withoutWaiting(log),
    waiting: await waiting(log, events, callers),
    oneByOne: await waiting(log, 500, 1),
  };
  for await (const { bytes } of log.entries(0, 1)) results.entryBytes = bytes.length;
  const [, checkpointMs] = await timed(() => log.checkpoint());
  const [verified, verifyExportMs] = await timed(() => verifyExport(exportLog(log)));
  const [, findOldestMs] = await timed(() => log.find("no such event"));
  const size = log.size();
  await log.close();
  const [again, openMs] = await timed(open);
  await again.close();
  const more = { size, checkpointMs, verifyExportMs, verified: verified.ok, findOldestMs, openMs };
  console.log(JSON.stringify({ ...results, ...more }, undefined, 2));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
