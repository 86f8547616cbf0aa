// SPDX-License-Identifier: Apache-2.0
/**
 * What must be there after a crash: every change that was acknowledged, and of one that was not, all or nothing.
 *
 * Each thing is changed by one client, one change after the other, so at most one change of it is open when the
 * server dies.
 */

/** What a thing is, in one word: a generation, a version, a value; undefined where it does not exist. */
export type State = string | undefined;

interface Entry {
  sure: State;
  /** A change that was sent and not answered: whether `state` is what it would make. */
  open: ((state: State) => boolean) | undefined;
}

export interface Contradiction {
  readonly thing: string;
  readonly detail: string;
}

export class Ledger {
  readonly #entries = new Map<string, Entry>();
  acknowledged = 0;
  /** Changes without an answer, and how many of them turned out to be done. */
  open = 0;
  openDone = 0;

  sure(thing: string): State {
    return this.#entries.get(thing)?.sure;
  }

  /** Sends a change: `send` resolves with the state that was acknowledged, or rejects where there was no answer. */
  async change(
    thing: string,
    wanted: (state: State) => boolean,
    send: () => Promise<{ readonly done: boolean; readonly state: State }>,
  ): Promise<void> {
    const entry = this.#entries.get(thing) ?? { sure: undefined, open: undefined };
    this.#entries.set(thing, entry);
    entry.open = wanted;
    const { done, state } = await send();
    entry.open = undefined;
    if (!done) return;
    entry.sure = state;
    this.acknowledged++;
  }

  /** Compares, and takes over what is there: an open change is settled by that. */
  compare(seen: ReadonlyMap<string, State>): Contradiction[] {
    const found: Contradiction[] = [];
    for (const [thing, entry] of this.#entries) {
      if (!seen.has(thing)) continue;
      const state = seen.get(thing);
      const isDone = state !== entry.sure && entry.open?.(state) === true;
      if (entry.open !== undefined) this.open++;
      if (isDone) this.openDone++;
      else if (state !== entry.sure)
        found.push({
          thing,
          detail: `is ${state ?? "absent"}; ${entry.sure ?? "absent"} was acknowledged${entry.open === undefined ? "" : ", and a change was open that makes something else"}`,
        });
      entry.sure = state;
      entry.open = undefined;
    }
    return found;
  }
}
