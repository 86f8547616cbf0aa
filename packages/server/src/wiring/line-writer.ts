// SPDX-License-Identifier: Apache-2.0
/**
 * How do lines of the log get out without harm to anybody? Whoever reads them slowly, or not at all any more, loses
 * lines; the server goes on.
 *
 * With `process.stderr`, lines that nobody reads pile up in memory without a bound, and a reader that has gone ends
 * the server.
 */
import { write } from "node:fs";
import { setTimeout as rest } from "node:timers/promises";
import { promisify } from "node:util";

/** Characters, which are bytes here: lines are ASCII. */
const MOST_WAITING = 1_048_576;

/** Milliseconds; a descriptor that does not block is one that somebody else has made so. */
const AGAIN_AFTER = 10;

const writeSome = promisify(write);

/** Everything, however little the descriptor takes at a time; where it takes nothing now, a little later. */
export async function writeAll(descriptor: number, text: string): Promise<void> {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length;) {
    try {
      done += (await writeSome(descriptor, bytes, done, bytes.length - done, null)).bytesWritten;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      await rest(AGAIN_AFTER);
    }
  }
}

export class LineWriter {
  readonly #write: (text: string) => Promise<void>;
  readonly #lost: (count: number) => void;
  #waiting: string[] = [];
  #size = 0;
  #lostCount = 0;
  #draining: Promise<void> | undefined;

  /** `lost` hears how many lines are missing as soon as others get through again, and may write a line. */
  constructor(writeText: (text: string) => Promise<void>, lost: (count: number) => void) {
    this.#write = writeText;
    this.#lost = lost;
  }

  readonly line = (line: string): void => {
    if (this.#size + line.length > MOST_WAITING) return void this.#lostCount++;
    this.#waiting.push(line);
    this.#size += line.length;
    this.#draining ??= this.#drain();
  };

  /** Waits until everything is out, or for so long. */
  async flush(milliseconds: number): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, milliseconds);
    await Promise.race([this.#draining, late.promise]);
    clearTimeout(timer);
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const text = this.#waiting.join("");
      this.#waiting = [];
      // What is being written counts until it is out.
      const isOut = await this.#write(text).then(
        () => true,
        () => false,
      );
      this.#size -= text.length;
      if (!isOut || this.#lostCount === 0) continue;
      const count = this.#lostCount;
      this.#lostCount = 0;
      this.#lost(count);
    }
    // In the same step in which nothing was left, so that no line falls between.
    this.#draining = undefined;
  }
}
