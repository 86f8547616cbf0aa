// SPDX-License-Identifier: Apache-2.0
/** Settlements that could not be written yet: said again until they are, as long as this process lives. */

const AGAIN_AFTER = 1000;
/** By then a call whose answer was lost has ended at the database in one way or the other. */
const SURELY_OVER = 30_000;
/** Beyond, the oldest are given up: what they kept stays charged. */
const MOST_WAITING = 100_000;

interface Waiting {
  readonly charges: readonly number[];
  readonly notBefore: number;
}

export class SettleLater {
  readonly #settle: (id: string, charges: readonly number[]) => Promise<void>;
  readonly #waiting = new Map<string, Waiting>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(settle: (id: string, charges: readonly number[]) => Promise<void>) {
    this.#settle = settle;
  }

  /** Now, or as soon as it goes. */
  async settle(id: string, charges: readonly number[]): Promise<void> {
    try {
      await this.#settle(id, charges);
    } catch {
      this.#add(id, { charges, notBefore: 0 });
    }
  }

  /** A reservation of which nobody knows whether it was made, and which nobody will use. */
  undo(id: string): void {
    this.#add(id, { charges: [], notBefore: performance.now() + SURELY_OVER });
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #add(id: string, waiting: Waiting): void {
    const [oldest] = this.#waiting.keys();
    if (this.#waiting.size >= MOST_WAITING && oldest !== undefined) this.#waiting.delete(oldest);
    this.#waiting.set(id, waiting);
    this.#plan();
  }

  #plan(): void {
    if (this.#isClosed || this.#timer !== undefined || this.#waiting.size === 0) return;
    this.#timer = setTimeout(() => void this.#again(), AGAIN_AFTER);
    this.#timer.unref();
  }

  async #again(): Promise<void> {
    const now = performance.now();
    try {
      for (const [id, { charges, notBefore }] of this.#waiting) {
        if (notBefore > now) continue;
        // One after the other: a database that is away is not asked a thousand times a second.
        // oxlint-disable-next-line no-await-in-loop
        await this.#settle(id, charges);
        this.#waiting.delete(id);
      }
    } catch {
      // Later.
    }
    this.#timer = undefined;
    this.#plan();
  }
}
