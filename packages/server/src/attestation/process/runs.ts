// SPDX-License-Identifier: Apache-2.0
/** Which runs are open at this server? */
import { rmSync } from "node:fs";
import { newShortId } from "../../kernel/ids.ts";
import type { Log } from "../../kernel/log.ts";
import { ExecutableHashes } from "./hash-executable.ts";
import { descriptorLimit } from "./proc.ts";
import { Run } from "./run.ts";

export interface OpenRunRequest {
  /** User whose processes the run is for: the operator who opens it. */
  readonly uid: number;
  readonly isolated: boolean;
  /** Name of the agent that the operator says it is; it still has to match. */
  readonly agent?: string;
}

const LAUNCH_TIMEOUT_MS = 30_000;
const MOST_CONNECTIONS = 4096;
/** One run gets this part of the descriptors that the server may have: each connection may lead to one more. */
const PART_OF_DESCRIPTORS = 8;

export class Runs {
  readonly #open = new Map<string, Run>();
  readonly #hashes = new ExecutableHashes();
  readonly #folder: string;
  readonly #log: Log;
  readonly #launchTimeoutMs: number;
  readonly #mostConnections = Math.min(MOST_CONNECTIONS, Math.floor(descriptorLimit() / PART_OF_DESCRIPTORS));

  /** Takes over `folder`: what earlier servers left in it is removed. */
  constructor(folder: string, log: Log, launchTimeoutMs = LAUNCH_TIMEOUT_MS) {
    this.#folder = folder;
    this.#log = log;
    this.#launchTimeoutMs = launchTimeoutMs;
    rmSync(folder, { recursive: true, force: true });
  }

  async openRun(request: OpenRunRequest): Promise<Run> {
    const run = await Run.open({
      ...request,
      id: newShortId(),
      folder: this.#folder,
      launchTimeoutMs: this.#launchTimeoutMs,
      mostConnections: this.#mostConnections,
      hashes: this.#hashes,
      log: this.#log,
    });
    this.#open.set(run.facts.id, run);
    void run.closed.then(() => this.#open.delete(run.facts.id));
    return run;
  }

  get(id: string): Run | undefined {
    return this.#open.get(id);
  }

  list(): readonly Run[] {
    return [...this.#open.values()];
  }

  get connections(): number {
    return this.list().reduce((sum, run) => sum + run.connections, 0);
  }

  closeAll(): void {
    for (const run of this.#open.values()) run.close("the server is stopping");
  }
}
