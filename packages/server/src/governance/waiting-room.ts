// SPDX-License-Identifier: Apache-2.0
/** Who waits for which approval, and for how long at most? Waiting takes a place, and one agent has few of them. */

/** More of one agent are told to come back at once. */
const MOST_WAITING = 32;
/** Another server on the same database may have been told: it is looked that often. */
const LOOK_EVERY = 1000;

export interface Gone {
  readonly isOver: boolean;
  onOver(listener: () => void): () => void;
}

export class WaitingRoom {
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #byAgent = new Map<string, number>();

  /** True once `isSettled` says so; false when the time is up, the agent has gone, or there is no place. */
  async wait(
    place: {
      readonly id: string;
      readonly agent: string;
      readonly milliseconds: number;
      readonly gone: Gone;
    },
    isSettled: () => Promise<boolean>,
  ): Promise<boolean> {
    const { agent, gone, id, milliseconds } = place;
    const taken = this.#byAgent.get(agent) ?? 0;
    if (milliseconds <= 0 || taken >= MOST_WAITING) return false;
    this.#byAgent.set(agent, taken + 1);
    const deadline = performance.now() + milliseconds;
    try {
      let answer: boolean | undefined;
      // eslint-disable-next-line no-await-in-loop
      while (answer === undefined) answer = await this.#look(id, gone, deadline, isSettled);
      return answer;
    } finally {
      const left = (this.#byAgent.get(agent) ?? 1) - 1;
      if (left === 0) this.#byAgent.delete(agent);
      else this.#byAgent.set(agent, left);
    }
  }

  /** Those who wait for it look again. */
  wake(id: string): void {
    for (const listener of this.#waiting.get(id) ?? []) listener();
  }

  async #look(
    id: string,
    gone: Gone,
    deadline: number,
    isSettled: () => Promise<boolean>,
  ): Promise<boolean | undefined> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const listeners = this.#waiting.get(id) ?? new Set();
    // Listening comes first, so that nothing falls in between.
    this.#waiting.set(id, listeners.add(resolve));
    const timer = setTimeout(resolve, Math.max(0, Math.min(LOOK_EVERY, deadline - performance.now())));
    const forget = gone.onOver(resolve);
    try {
      if (await isSettled()) return true;
      if (gone.isOver || performance.now() >= deadline) return false;
      await promise;
      return undefined;
    } finally {
      clearTimeout(timer);
      forget();
      listeners.delete(resolve);
      if (listeners.size === 0 && this.#waiting.get(id) === listeners) this.#waiting.delete(id);
    }
  }
}
