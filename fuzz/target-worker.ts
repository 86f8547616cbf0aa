// SPDX-License-Identifier: Apache-2.0
/**
 * Tries one fuzzer: first its corpus, then what becomes of it. Runs as a worker, so that an input that never ends,
 * or takes all memory, can be ended from outside; each input lies in shared memory before it is tried.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { Choices } from "./choices.ts";
import { Coverage } from "./coverage.ts";
import { Chance, mutated } from "./mutate.ts";
import { type Orders, type Outcome, SHARED_HEADER } from "./orders.ts";
import { type FuzzTarget, LARGEST, SLOWEST } from "./target.ts";

/** Inputs that are remembered for further mutations. */
const MOST_REMEMBERED = 4000;
const MEASURED_EVERY = 8;
const SHRINK_MILLISECONDS = 4000;

const orders = workerData as Orders;
const counters = new Int32Array(orders.shared, 0, 2);
const sharedInput = new Uint8Array(orders.shared, SHARED_HEADER);

function announce(input: Buffer): void {
  const length = Math.min(input.length, sharedInput.length);
  sharedInput.set(input.subarray(0, length));
  Atomics.store(counters, 1, length);
  Atomics.add(counters, 0, 1);
}

function readCorpus(): Buffer[] {
  const { corpus } = orders;
  if (typeof corpus !== "string") return corpus.map((file) => readFileSync(file));
  return (existsSync(corpus) ? readdirSync(corpus) : [])
    .toSorted()
    .map((name) => readFileSync(join(corpus, name)));
}

class Trial {
  readonly #target: FuzzTarget;
  slowest = { milliseconds: 0, bytes: 0 };
  runs = 0;

  constructor(target: FuzzTarget) {
    this.#target = target;
  }

  /** Why the property does not hold for the input; undefined where it does. */
  async problemWith(input: Buffer): Promise<string | undefined> {
    this.runs++;
    const first = await this.#timed(input);
    if (typeof first === "string") return first;
    let milliseconds = first;
    const limit = this.#target.slowest ?? SLOWEST;
    // It may have been the collector's turn: only what is slow every time is slow.
    for (let again = 0; again < 2 && milliseconds > limit; again++) {
      const next = await this.#timed(input);
      if (typeof next === "string") return next;
      milliseconds = Math.min(milliseconds, next);
    }
    if (milliseconds > this.slowest.milliseconds) this.slowest = { milliseconds, bytes: input.length };
    if (milliseconds <= limit) return undefined;
    return `slow: ${milliseconds.toFixed(0)} ms for ${input.length} bytes, ${limit} ms are allowed`;
  }

  async #timed(input: Buffer): Promise<number | string> {
    announce(input);
    // Time of this thread alone: others may have the processor for most of the time.
    const began = process.threadCpuUsage();
    try {
      const checking = this.#target.check(input);
      if (checking !== undefined) await checking;
    } catch (error) {
      return error instanceof Error ? (error.stack ?? error.message) : String(error);
    }
    const { user, system } = process.threadCpuUsage(began);
    return (user + system) / 1000;
  }
}

/** Takes away what is not needed for the problem to stay, for a few seconds. */
async function shrunk(
  trial: Trial,
  input: Buffer,
  problem: string,
): Promise<{ input: Buffer; problem: string }> {
  const until = performance.now() + SHRINK_MILLISECONDS;
  let smallest = { input, problem };
  for (let size = input.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at < smallest.input.length && performance.now() < until;) {
      const { input: whole } = smallest;
      const shorter = Buffer.concat([whole.subarray(0, at), whole.subarray(at + size)]);
      const still = await trial.problemWith(shorter);
      if (still === undefined) at += size;
      else smallest = { input: shorter, problem: still };
    }
  }
  return smallest;
}

async function fuzz(target: FuzzTarget): Promise<Outcome> {
  const began = performance.now();
  const trial = new Trial(target);
  const corpus = readCorpus();
  const remembered = [...corpus];
  const outcome = (finding?: Outcome["finding"]): Outcome => ({
    runs: trial.runs,
    seconds: (performance.now() - began) / 1000,
    saved: corpus.length,
    grown: remembered.length - corpus.length,
    slowest: trial.slowest,
    ...(finding === undefined ? {} : { finding }),
  });
  const coverage = new Coverage();
  coverage.start();
  for (const input of corpus) {
    const problem = await trial.problemWith(input);
    if (problem !== undefined) return outcome({ message: problem, input });
  }
  coverage.isNew();
  const chance = new Chance(orders.seed);
  const material = {
    others: remembered,
    words: (target.words ?? []).map((word) => Buffer.from(word, "latin1")),
    largest: target.largest ?? LARGEST,
  };
  while (trial.runs < orders.runs && performance.now() - began < orders.seconds * 1000) {
    const isMade = target.make !== undefined && (remembered.length === 0 || chance.below(3) === 0);
    let input = isMade
      ? Buffer.from(target.make!(new Choices(chance.bytes(1 << (4 + chance.below(8))))) as string, "latin1")
      : remembered.length === 0
        ? chance.bytes(chance.below(64))
        : chance.pick(remembered);
    if (remembered.length > 0 && (!isMade || chance.below(2) === 0)) input = mutated(input, chance, material);
    const isMeasured = trial.runs % MEASURED_EVERY === 0;
    if (isMeasured) coverage.reset();
    const problem = await trial.problemWith(input);
    if (problem !== undefined) {
      const smallest = await shrunk(trial, input, problem);
      return outcome({ message: smallest.problem, input: smallest.input });
    }
    if (isMeasured && coverage.isNew() && remembered.length < MOST_REMEMBERED) remembered.push(input);
  }
  return outcome();
}

const { default: target } = (await import(orders.targetFile)) as { default: FuzzTarget };
// A port of a thread: it has no origin.
// oxlint-disable-next-line unicorn/require-post-message-target-origin
parentPort!.postMessage(await fuzz(target));
