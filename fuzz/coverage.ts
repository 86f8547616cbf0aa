// SPDX-License-Identifier: Apache-2.0
/**
 * Did an input reach code of ours that none before it reached? By V8's own counters (`node:inspector`): no build
 * step, no instrumentation. Reading them costs some tenths of a millisecond, so not every input is measured.
 */
import { type Profiler, Session } from "node:inspector";

export class Coverage {
  readonly #session = new Session();
  readonly #seen = new Set<string>();

  start(): void {
    this.#session.connect();
    this.#session.post("Profiler.enable");
    this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** Forgets what ran since the last look. */
  reset(): void {
    this.#take();
  }

  /** Whether since `reset` a function took a way that it had never taken. */
  isNew(): boolean {
    const before = this.#seen.size;
    for (const { url, functions } of this.#take()) {
      if (!/\/(packages|planted)\/[^?]*\.ts$/.test(url) || url.includes("/node_modules/")) continue;
      for (const { ranges } of functions) {
        const [whole, ...blocks] = ranges;
        if (whole === undefined || whole.count === 0) continue;
        const ways = blocks.map(({ startOffset, count }) => `${startOffset}${count === 0 ? "-" : "+"}`);
        this.#seen.add(`${url}:${whole.startOffset}:${ways.join("")}`);
      }
    }
    return this.#seen.size > before;
  }

  #take(): Profiler.ScriptCoverage[] {
    let result: Profiler.ScriptCoverage[] = [];
    this.#session.post("Profiler.takePreciseCoverage", (error, value) => {
      if (error === null) ({ result } = value);
    });
    return result;
  }
}
