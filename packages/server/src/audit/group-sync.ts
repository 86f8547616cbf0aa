// SPDX-License-Identifier: Apache-2.0
/**
 * How many appends share one fdatasync: everything written before one starts is covered by it.
 *
 * Two may be under way at a time, so that what comes while the first one waits for the disk waits for its own
 * only. They are told in the order they began: what is durable is always a beginning of the log.
 *
 * After a failure nothing is durable any more until the log is opened again: the kernel may have dropped the
 * pages and would report the next fdatasync of the same file as a success.
 */

const MOST_AT_ONCE = 2;

export class GroupSync {
  readonly #sync: () => Promise<void>;
  readonly #onFailure: (error: unknown) => unknown;
  #waiting: PromiseWithResolvers<void> | undefined;
  #running = 0;
  /** Settles when the one that began last has been told. */
  #last: Promise<void> = Promise.resolve();
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
      if (this.#running < MOST_AT_ONCE) setImmediate(() => this.#start());
    }
    return this.#waiting.promise;
  }

  #start(): void {
    const group = this.#waiting;
    if (group === undefined || this.#running >= MOST_AT_ONCE) return;
    this.#waiting = undefined;
    this.#running++;
    const synced = this.#failure === undefined ? this.#sync() : Promise.reject(this.#failure);
    synced.catch(() => {}); // heard of below, in its turn
    this.#last = this.#tell(group, this.#last, synced);
  }

  async #tell(
    group: PromiseWithResolvers<void>,
    before: Promise<void>,
    synced: Promise<void>,
  ): Promise<void> {
    try {
      await synced;
      await before;
      if (this.#failure !== undefined) throw this.#failure;
      group.resolve();
    } catch (error) {
      this.#failure ??= this.#onFailure(error);
      group.reject(this.#failure);
    }
    this.#running--;
    this.#start();
  }
}
