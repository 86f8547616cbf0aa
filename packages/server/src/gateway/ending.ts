// SPDX-License-Identifier: Apache-2.0
/**
 * Whether something is over before its time, and who wants to hear of it.
 *
 * What an `AbortSignal` is, at a hundredth of its cost: several are made for each request.
 */

export class Ending {
  #isOver = false;
  #listeners: Set<() => void> | undefined;

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Calls the listener when it is over, at once where it is; returns how not to hear of it any more. */
  onOver(listener: () => void): () => void {
    if (this.#isOver) {
      listener();
      return () => {};
    }
    const listeners = (this.#listeners ??= new Set());
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const listeners = this.#listeners ?? [];
    this.#listeners = undefined;
    for (const listener of listeners) listener();
  }

  /** The same for an interface of the platform. */
  signal(): AbortSignal {
    const controller = new AbortController();
    this.onOver(() => controller.abort());
    return controller.signal;
  }
}
