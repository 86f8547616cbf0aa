// SPDX-License-Identifier: Apache-2.0
/** A cache that reads each key once, also when many ask at the same time. */
export class SharedReads<T> {
  readonly #reads = new Map<string, Promise<T | undefined>>();
  readonly #found = new Map<string, T>();

  /** Only what was found is kept: absence and failures are looked up again. */
  read(key: string, load: () => Promise<T | undefined>): Promise<T | undefined> {
    const running = this.#reads.get(key);
    if (running !== undefined) return running;
    const read = load();
    this.#reads.set(key, read);
    const dropUnlessFound = (value?: T) => {
      if (this.#reads.get(key) !== read) return;
      if (value === undefined) this.#reads.delete(key);
      else this.#found.set(key, value);
    };
    read.then(dropUnlessFound, () => dropUnlessFound());
    return read;
  }

  /** What was found and not forgotten, without waiting. */
  known(key: string): T | undefined {
    return this.#found.get(key);
  }

  /** The next `read` loads again. A load that is under way is not kept. */
  forget(key: string): void {
    this.#reads.delete(key);
    this.#found.delete(key);
  }

  forgetAll(): void {
    this.#reads.clear();
    this.#found.clear();
  }
}
