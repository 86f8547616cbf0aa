// SPDX-License-Identifier: Apache-2.0
/**
 * Whose work is next, where some want very much of it?
 *
 * In each turn of the event loop so much work is begun and no more, in rotation over those who wait: whoever has
 * thousands of pieces of work waits for itself, and the other one's single piece is begun in this turn or the next.
 */
export class FairTurns {
  readonly #perTurn: number;
  readonly #nextTurn: (begin: () => void) => void;
  readonly #waiting = new Map<string, (() => void)[]>();
  #begun = 0;
  #isExpected = false;

  constructor(perTurn: number, nextTurn: (begin: () => void) => void = setImmediate) {
    this.#perTurn = perTurn;
    this.#nextTurn = nextTurn;
  }

  /** Resolves when the next piece of work of `who` may begin; undefined where that is now. */
  take(who: string): Promise<void> | undefined {
    this.#expectTurn();
    if (this.#begun < this.#perTurn && this.#waiting.size === 0) {
      this.#begun++;
      return undefined;
    }
    return new Promise((resolve) => {
      const own = this.#waiting.get(who);
      if (own === undefined) this.#waiting.set(who, [resolve]);
      else own.push(resolve);
    });
  }

  #expectTurn(): void {
    if (this.#isExpected) return;
    this.#isExpected = true;
    this.#nextTurn(() => this.#turn());
  }

  #turn(): void {
    this.#isExpected = false;
    this.#begun = 0;
    while (this.#begun < this.#perTurn) {
      const [next] = this.#waiting;
      if (next === undefined) break;
      const [who, own] = next;
      // To the end of the rotation.
      this.#waiting.delete(who);
      own.shift()!();
      if (own.length > 0) this.#waiting.set(who, own);
      this.#begun++;
    }
    if (this.#begun > 0) this.#expectTurn();
  }
}
