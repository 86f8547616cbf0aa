// SPDX-License-Identifier: Apache-2.0
/**
 * How many appends share one fdatasync: one is in flight, and everything written before it started is covered.
 *
 * After a failure nothing is durable any more until the log is opened again: the kernel may have dropped the
 * pages and would report the next fdatasync of the same file as a success.
 */

interface Group {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

export class GroupSync {
  readonly #sync: () => Promise<void>;
  readonly #onFailure: (error: unknown) => unknown;
  #waiting: Group | undefined;
  #running = false;
  #failure: unknown;

  /** `onFailure` makes the error that the waiting callers get. */
  constructor(sync: () => Promise<void>, onFailure: (error: unknown) => unknown) {
    this.#sync = sync;
    this.#onFailure = onFailure;
  }

  /** What the failed fdatasync was answered with; undefined while all is well. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Resolves when everything written up to now is on disk. All callers of one group get the same promise. */
  request(): Promise<void> {
    if (this.#waiting === undefined) {
      const group = Promise.withResolvers<void>();
      // Most appends are not awaited one by one; a failure reaches `onFailure` in any case.
      group.promise.catch(() => {});
      this.#waiting = group;
      // At the end of this turn of the event loop, so that everything appended in it is one group.
      if (!this.#running) setImmediate(() => void this.#run());
    }
    return this.#waiting.promise;
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    while (this.#waiting !== undefined) {
      const group = this.#waiting;
      this.#waiting = undefined;
      try {
        if (this.#failure !== undefined) throw this.#failure;
        await this.#sync();
        group.resolve();
      } catch (error) {
        this.#failure ??= this.#onFailure(error);
        group.reject(this.#failure);
      }
    }
    this.#running = false;
  }
}
