// SPDX-License-Identifier: Apache-2.0
/** Runs one fuzzer in a worker and watches it: an input that never ends, or takes all memory, is a finding too. */
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { removeScratchFolders } from "./scratch-folder.ts";
import { type Orders, type Outcome, SHARED_HEADER } from "./orders.ts";

export interface RunOptions extends Omit<Orders, "shared"> {
  readonly name: string;
  /** Where the input of a finding is saved. */
  readonly findings: string;
  /** Seconds after which an input that is still being tried is said never to end. */
  readonly patience: number;
}

export type Ended = Partial<Omit<Outcome, "finding">> & {
  readonly finding?: { readonly message: string; readonly file: string };
};

const LARGEST_INPUT = 4 * 1024 * 1024;
const HEAP_MEGABYTES = 768;
/** Buffers lie outside of the heap. */
const RESIDENT_BYTES = 3 * 1024 ** 3;
const LOOK_MILLISECONDS = 200;

export async function runTarget(options: RunOptions): Promise<Ended> {
  const { name, findings, patience, ...orders } = options;
  const shared = new SharedArrayBuffer(SHARED_HEADER + LARGEST_INPUT);
  const worker = new Worker(new URL("./target-worker.ts", import.meta.url), {
    workerData: { ...orders, shared } satisfies Orders,
    // Of the stack as much as the main thread of a server has.
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MEGABYTES, stackSizeMb: 1 },
  });
  const present = (): Buffer => {
    const [, length = 0] = new Int32Array(shared, 0, 2);
    return Buffer.from(new Uint8Array(shared, SHARED_HEADER, length));
  };
  const ended = await new Promise<Outcome | { finding: { message: string; input: Uint8Array } }>(
    (resolve) => {
      const fail = (message: string): void => resolve({ finding: { message, input: present() } });
      const looking = watch(shared, patience, fail);
      worker.once("message", (outcome: Outcome) => resolve(outcome));
      worker.once("error", (error: Error) => fail(`the process failed: ${error.stack ?? error.message}`));
      worker.once("exit", () => {
        clearInterval(looking);
        fail("hang: the check never ended");
      });
    },
  );
  await worker.terminate();
  removeScratchFolders();
  const { finding, ...rest } = ended;
  if (finding === undefined) return rest;
  const input = Buffer.from(finding.input);
  mkdirSync(findings, { recursive: true });
  const file = join(findings, `${name}-${createHash("sha256").update(input).digest("hex").slice(0, 12)}`);
  writeFileSync(file, input);
  return { ...rest, finding: { message: finding.message, file } };
}

function watch(shared: SharedArrayBuffer, patience: number, fail: (message: string) => void): NodeJS.Timeout {
  const counters = new Int32Array(shared, 0, 2);
  let last = Atomics.load(counters, 0);
  let since = performance.now();
  return setInterval(() => {
    const current = Atomics.load(counters, 0);
    if (current !== last) [last, since] = [current, performance.now()];
    else if (current > 0 && performance.now() - since > patience * 1000)
      fail(`hang: no end after ${patience} seconds`);
    if (process.memoryUsage.rss() > RESIDENT_BYTES) fail("memory: the process has more than 3 GiB");
  }, LOOK_MILLISECONDS);
}
