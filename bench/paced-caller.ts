// SPDX-License-Identifier: Apache-2.0
/** Run as an agent: calls the API twenty times a second on one connection, and prints what a call took. */
import { Agent, request } from "node:http";

const [seconds = "5"] = process.argv.slice(2);
const EVERY = 50;
const base = new URL(process.env["OPENAI_BASE_URL"]!);
const body = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "x".repeat(950) }] });
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const times: number[] = [];
let failed = 0;

function call(): Promise<void> {
  return new Promise((resolve) => {
    const startedAt = performance.now();
    const options = { method: "POST", agent, headers: { "content-type": "application/json" } };
    const sent = request(`${base.href}/chat/completions`, options, (answer) => {
      if (answer.statusCode !== 200) failed++;
      answer.resume().once("end", () => {
        times.push(performance.now() - startedAt);
        resolve();
      });
    });
    sent.once("error", () => {
      failed++;
      resolve();
    });
    sent.end(body);
  });
}

// The first call identifies the caller and opens the connection to the upstream.
await call();
times.length = 0;
const started = performance.now();
const pending: Promise<void>[] = [];
for (let i = 0; i < (Number(seconds) * 1000) / EVERY; i++) {
  const due = started + i * EVERY - performance.now();
  if (due > 0) await new Promise((resolve) => setTimeout(resolve, due));
  pending.push(call());
}
await Promise.all(pending);
const sorted = times.toSorted((a, b) => a - b);
const at = (part: number): number => Math.round((sorted[Math.floor(sorted.length * part)] ?? 0) * 100) / 100;
process.stdout.write(`${JSON.stringify({ p50: at(0.5), p99: at(0.99), calls: sorted.length, failed })}\n`);
process.exit(0);
